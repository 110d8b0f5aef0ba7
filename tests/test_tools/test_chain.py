"""tools/chain.py: each student becomes the next teacher."""

import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from amd_mm.registry import MODELS
from mmengine.config import Config

from .tool_scripts import TOOLS, load_tool, run_tool

VIDEOMAE = (
    TOOLS.parent / 'configs/videomae/pretrain/videomae_vit-base-p16_32xb16v4-16x2x1-600e_sthv2.py'
)
STAGE = """
_base_ = {base!r}
train_dataloader = dict(batch_size=3, num_workers=0, persistent_workers=False)
train_cfg = dict(max_epochs=1)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 1
param_scheduler[1].end = 2
default_hooks = dict(checkpoint=dict(interval=1))
"""
SECOND = """
_base_ = 'first.py'
# The first student is the teacher.
model = dict(teacher=dict(backbone=dict(arch=_base_.model.backbone.arch)))
"""


@pytest.fixture
def chain():
    return load_tool('chain')


@pytest.fixture
def arguments(tmp_path):
    """The command line of a chain of two small stages, with data and a first teacher."""
    base = TOOLS.parent / 'configs' / 'quickstart_image' / 'quickstart_image_tinymim.py'
    (tmp_path / 'first.py').write_text(STAGE.format(base=str(base)))
    (tmp_path / 'second.py').write_text(SECOND)
    random = np.random.default_rng(0)
    (tmp_path / 'train').mkdir()
    for index in range(6):
        picture = random.integers(0, 256, (20, 20, 3), np.uint8)
        cv2.imwrite(str(tmp_path / 'train' / f'{index}.png'), picture)
    teacher = MODELS.build(Config.fromfile(base).model.teacher.backbone)
    torch.save(dict(model=teacher.state_dict()), tmp_path / 'mae.pth')
    paths = ['tinymim', '--teacher', tmp_path / 'mae.pth', '--data', tmp_path]
    paths += ['--out', tmp_path / 'runs']
    stages = ['--configs', tmp_path / 'first.py', tmp_path / 'second.py']
    return [str(word) for word in [*paths, *stages, '--cfg-options', 'randomness.seed=5']]


def test_a_student_teaches_the_next_and_finished_stages_are_skipped(
    chain, arguments, tmp_path, monkeypatch, capfd
):
    def train(command):
        done = run_tool('train', *command[2:])
        print(done.stdout, done.stderr)
        return done

    monkeypatch.setattr(chain, 'subprocess', SimpleNamespace(run=train))
    chain.main(arguments)
    text = ''.join(capfd.readouterr())
    assert 'first: training in' in text and 'second: training in' in text
    first, second = (tmp_path / 'runs' / name / 'epoch_1.pth' for name in ('first', 'second'))
    dumped = Config.fromfile(second.with_name('second.py'))
    assert dumped.model.teacher.checkpoint == str(first) and dumped.randomness.seed == 5
    chain.main(arguments)
    text = capfd.readouterr().out
    assert all(f'{path} exists' in text for path in (first, second))


@pytest.mark.parametrize(
    'heads, expected',
    [('released', {}), ('paper', {'model.last_heads': 16, 'model.teacher.num_heads': 16})],
)
def test_the_chain_of_the_paper(chain, tmp_path, monkeypatch, heads, expected):
    ran = []

    def pretend(stage, args):
        ran.append((stage.config.stem, stage.options))
        return args.out / stage.folder / 'epoch_300.pth'

    monkeypatch.setattr(chain, 'run', pretend)
    (tmp_path / 'mae.pth').touch()
    for split in ('train', 'val'):
        (tmp_path / split).mkdir()
    paths = ['tinymim', '--teacher', str(tmp_path / 'mae.pth'), '--data', str(tmp_path)]
    chain.main([*paths, '--finetune', '--heads', heads])
    pairs = [name.split('_')[1:3] for name, _ in ran]
    expected_pairs = [('base', 'large'), ('small', 'base'), ('tiny', 'small')]
    assert pairs == [[f'vit-{s}-p16', f'vit-{t}'] for s, t in expected_pairs for _ in range(2)]
    teachers = [options['model.teacher.checkpoint'] for _, options in ran[::2]]
    assert teachers[0].endswith('mae.pth')
    for teacher, (_, options) in zip(teachers[1:], ran[1::2]):
        assert options['model.backbone.pretrained'] == teacher
    for index, (_, options) in enumerate(ran[::2]):
        chosen = {key: options[key] for key in options if 'heads' in key}
        assert chosen == (expected if index else {})


def test_students_of_pmd_see_less_and_less(chain, tmp_path, monkeypatch):
    ran = []

    def pretend(command):
        parsed = load_tool('train').parse_args(command[2:])
        cfg = chain.load_config(Path(command[2]), parsed.cfg_options)
        folder = Path(parsed.work_dir)
        folder.mkdir(parents=True)
        (folder / f'epoch_{cfg.train_cfg.max_epochs}.pth').touch()
        ran.append(cfg)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(chain, 'subprocess', SimpleNamespace(run=pretend))
    chain.main(['pmd', '--data', str(tmp_path), '--out', str(tmp_path / 'runs')])
    masks = [cfg.model.mask_generator for cfg in ran]
    assert [one.student_ratio for one in masks] == [0.75, 0.8, 0.85, 0.9]
    assert [one.teacher_ratio for one in masks[1:]] == [0.75, 0.8, 0.85]
    teachers = [cfg.model.teacher.checkpoint for cfg in ran[1:]]
    assert teachers == [
        str(tmp_path / 'runs' / f'pmd_{masked}' / 'epoch_200.pth') for masked in (75, 80, 85)
    ]
    assert ran[0].model.get('teacher') is None
    assert {cfg.train_dataloader.dataset.data_root for cfg in ran} == {str(tmp_path)}


@pytest.mark.parametrize(
    'changes, message',
    [
        (['--data', 'nowhere'], 'nowhere/train'),
        (['--finetune', '--finetune-configs', __file__], 'one config for each stage'),
        (['--configs', str(VIDEOMAE)], 'leave out --teacher'),
    ],
)
def test_mistakes_stop_it_before_it_starts(chain, arguments, capsys, changes, message):
    with pytest.raises(SystemExit) as stopped:
        chain.main([*arguments, *changes])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_stage_that_fails_stops_the_chain(chain, arguments, monkeypatch):
    monkeypatch.setattr(sys, 'executable', 'false')
    with pytest.raises(SystemExit, match=r'first did not finish .*exit status 1'):
        chain.main(arguments)
