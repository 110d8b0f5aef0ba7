"""tools/benchmarks/levers.py: pairs of ways that give the same."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / 'tools' / 'benchmarks'
QUICK = (
    '--batch',
    '1',
    '--width',
    '64',
    '--depth',
    '1',
    '--repeats',
    '2',
    '--warmup',
    '1',
    '--threads',
    '1',
)


@pytest.fixture
def levers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module('levers')


@pytest.mark.filterwarnings('ignore:There is a performance drop')
def test_every_pair_is_compared_and_timed(
    levers: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'new' / 'figures.json'
    levers.main([*QUICK, '--json', str(out)])
    text = capsys.readouterr()
    seconds = json.loads(out.read_text())['seconds']
    assert set(seconds) == set(levers.PAIRS)
    for name, ways in seconds.items():
        assert name in text.out and f'{name}: largest diff' in text.err
        for way, values in ways.items():
            assert way in text.out and len(values) == 2 and min(values) > 0


def test_pairs_do_compute_something(levers: ModuleType) -> None:
    case = levers.Case(1, 64, 1, torch.device('cpu'))
    for build in levers.PAIRS.values():
        for way in build(case).values():
            assert all(one.float().std() > 0 for one in way())


def test_the_teacher_of_the_graph_computes(
    levers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levers, 'graph_of', lambda call: call)
    monkeypatch.setattr(levers, '_TEACHER_TAPS', (1, 2))
    case = levers.Case(1, 64, 1, torch.device('cpu'))
    ways = levers.teacher(case)
    assert len(ways) == 2
    tokens = case.partition.teacher.shape[1]
    for way in ways.values():
        assert [layer.shape for layer in way()] == 2 * [(1, tokens, 64)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_graph_gives_what_the_call_gives(levers: ModuleType) -> None:
    given = torch.arange(3.0, device='cuda')
    replay = levers.graph_of(lambda: [given * 2])
    given.add_(1)
    assert replay()[0].tolist() == [2.0, 4.0, 6.0]


def test_nothing_is_timed_when_they_differ(
    levers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = levers.gather_tokens
    monkeypatch.setattr(levers, 'gather_tokens', lambda tokens, ids: right(tokens, ids.flip(1)))
    monkeypatch.setattr(levers, 'PAIRS', dict(positions=levers.positions))
    with pytest.raises(SystemExit, match='positions: .* differ'):
        levers.main(list(QUICK))
