"""tools/tinymim_chain.py: students that teach, in one command."""

import importlib.util
import sys

import pytest
import torch
from amd_mm.registry import MODELS
from mmengine.runner import Runner

from tests.test_configs.shrink import REPOSITORY

from .shrunk import SMALL, TINY, pretraining


@pytest.fixture(scope='module')
def chain():
    path = REPOSITORY / 'tools' / 'tinymim_chain.py'
    spec = importlib.util.spec_from_file_location('tinymim_chain', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_stages(folder):
    """Two stages of a chain, small, and a first teacher's weights."""
    paths = []
    for name in (SMALL, TINY):
        cfg = pretraining(folder, name)
        if name == SMALL:
            torch.manual_seed(0)
            teacher = MODELS.build(cfg.model.teacher.backbone)
            torch.save(dict(model=teacher.state_dict()), folder / 'mae.pth')
        # The chain has to say these.
        cfg.model.teacher.checkpoint = 'nothing.pth'
        cfg.model.teacher.random_init = False
        cfg.train_dataloader.dataset.data_root = 'nowhere'
        paths.append(folder / f'{name}.py')
        cfg.dump(paths[-1])
    return [str(path) for path in paths]


def test_a_student_teaches_the_next_and_nothing_is_done_twice(chain, tmp_path, capfd):
    stages, out = write_stages(tmp_path), tmp_path / 'runs'
    first = pretraining(tmp_path)
    first.model.teacher.update(checkpoint=str(tmp_path / 'mae.pth'), random_init=False)
    first.work_dir = str(out / SMALL)
    Runner.from_cfg(first).train()
    capfd.readouterr()
    arguments = [
        '--teacher',
        str(tmp_path / 'mae.pth'),
        '--data',
        str(tmp_path / 'data/imagenet'),
        '--out',
        str(out),
        '--cfg-options',
        'randomness.seed=5',
        '--configs',
        *stages,
    ]
    chain.main(arguments)
    text = ''.join(capfd.readouterr())
    assert f'{SMALL}: finished before' in text
    assert f'{TINY}: starts' in text
    assert f'{SMALL}/epoch_1.pth (amd_mm) ->' in text  # the loader's report
    assert 'seed: 5' in text
    assert (out / TINY / 'epoch_1.pth').exists()

    chain.main(arguments)
    text = ''.join(capfd.readouterr())
    assert text.count('finished before') == 2 and 'starts' not in text


@pytest.fixture
def commands(chain, monkeypatch):
    """What would be run: the chain's commands, which do nothing but finish."""
    ran = []

    def pretend(path, options, args):
        ran.append((path.stem, options))
        return args.out / path.stem / 'epoch_300.pth'

    monkeypatch.setattr(chain, 'run', pretend)
    return ran


@pytest.mark.parametrize(
    'heads, expected',
    [('released', {}), ('paper', {'model.last_heads': 16, 'model.teacher.num_heads': 16})],
)
def test_the_real_chain(chain, commands, tmp_path, heads, expected):
    (tmp_path / 'mae.pth').touch()
    for split in ('train', 'val'):
        (tmp_path / split).mkdir()
    chain.main(
        [
            '--teacher',
            str(tmp_path / 'mae.pth'),
            '--data',
            str(tmp_path),
            '--out',
            str(tmp_path),
            '--finetune',
            '--heads',
            heads,
        ]
    )
    names = [name.split('_16xb')[0].split('_fine')[0] for name, _ in commands]
    assert names == [
        f'tinymim_{pair}'
        for pair in ('vit-base-p16_vit-large', 'vit-small-p16_vit-base', 'vit-tiny-p16_vit-small')
        for _ in range(2)
    ]
    teachers = [options['model.teacher.checkpoint'] for _, options in commands[::2]]
    assert teachers[0].endswith('mae.pth')
    for teacher, (_name, options) in zip(teachers[1:], commands[1::2]):
        assert options['model.backbone.pretrained'] == teacher
    for index, (_, options) in enumerate(commands[::2]):
        chosen = {key: options[key] for key in options if 'heads' in key}
        assert chosen == (expected if index else {})


@pytest.mark.parametrize(
    'arguments, complaint',
    [
        (['--teacher', 'no.pth'], 'no.pth is not there'),
        ([], '--teacher'),
        (['--teacher', __file__, '--data', 'nowhere'], 'nowhere/train'),
        (['--teacher', __file__, '--heads', '12'], 'released'),
    ],
)
def test_mistakes_stop_it_before_it_starts(chain, commands, capsys, arguments, complaint):
    with pytest.raises(SystemExit) as stopped:
        chain.main(arguments)
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err
    assert not commands


def test_a_stage_that_fails_stops_the_chain(chain, tmp_path, monkeypatch):
    stage = write_stages(tmp_path)[0]
    monkeypatch.setattr(sys, 'executable', 'false')
    with pytest.raises(SystemExit, match='did not finish .*exit status 1'):
        chain.main(
            [
                '--teacher',
                str(tmp_path / 'mae.pth'),
                '--data',
                str(tmp_path / 'data/imagenet'),
                '--out',
                str(tmp_path / 'out'),
                '--configs',
                stage,
            ]
        )
