"""tools/benchmarks: they compare before they measure, and print a table."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / 'tools' / 'benchmarks'
TINY = (
    '--size',
    'tiny',
    '--frames',
    '4',
    '--side',
    '32',
    '--repeats',
    '2',
    '--warmup',
    '1',
    '--threads',
    '1',
)


@pytest.fixture
def recognition(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module('recognition')


def test_recognition_as_a_program(tmp_path: Path) -> None:
    out = tmp_path / 'new folder' / 'figures.json'
    done = subprocess.run(
        [
            sys.executable,
            str(FOLDER / 'recognition.py'),
            *TINY,
            '--modes',
            'train',
            '--json',
            str(out),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert '8 tokens' in done.stdout and torch.__version__ in done.stdout
    rows = [line for line in done.stdout.splitlines() if line[:1] == '|']
    assert [row.split('|')[1].strip() for row in rows[2:]] == [
        'train, stock',
        'train, fused',
        'train, fused / stock',
    ]
    found = json.loads(out.read_text())
    assert set(found['equality']) == {'outputs', 'gradients'}
    for ways in found['figures'].values():
        for way in ways.values():
            assert len(way['seconds']) == 2 and min(way['seconds']) > 0
            # AdamW's two states of 5.5 million parameters are 42 MiB.
            assert way['memory']['peak'] > way['memory']['before'] + 40


def models_of(recognition: ModuleType) -> tuple:
    task = recognition.Task('tiny', batch=2, frames=4, side=32)
    machine = recognition.Machine('cpu', 'fp32', 1)
    device = torch.device('cpu')
    models = {
        way: recognition.build(way, task, device) for way in (recognition.STOCK, recognition.FUSED)
    }
    models[recognition.FUSED].load_state_dict(models[recognition.STOCK].state_dict())
    return models, task.clips(device), machine


def test_both_backbones_give_the_same_outputs_and_gradients(recognition: ModuleType) -> None:
    models, clips, machine = models_of(recognition)
    found = recognition.compare(models, clips, ['train', 'test'], machine)
    assert all(row['largest'] > 0.1 for row in found.values())


@pytest.mark.parametrize('modes, names', [(['test'], 'outputs'), (['train'], 'gradients')])
def test_nothing_is_timed_when_they_differ(
    recognition: ModuleType, modes: list, names: str
) -> None:
    models, clips, machine = models_of(recognition)
    attention = models[recognition.FUSED][0].blocks[5].attn
    if names == 'outputs':
        attention.scale *= 1.5
    else:  # the same outputs, other gradients
        attention.q_bias.register_hook(lambda gradient: gradient * 100)
    with pytest.raises(recognition.UnequalError, match=f'{names} of stock'):
        recognition.compare(models, clips, modes, machine)


@pytest.mark.parametrize(
    'arguments, says',
    [
        (['--device', 'cuda:99'], '--device cuda:99 cannot be used'),
        (['--side', '30'], 'multiple of patch_size'),
        (['--batch', '0'], "'0' is no number from 1"),
    ],
)
def test_wrong_calls_stop_it(recognition: ModuleType, capsys, arguments: list, says: str) -> None:
    with pytest.raises(SystemExit) as caught:
        recognition.main([*TINY, *arguments])
    assert says in f'{caught.value}{capsys.readouterr().err}'
