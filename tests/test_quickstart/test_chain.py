"""The whole chain in a few steps: configs, tools/train.py, report."""
import json
import subprocess
import sys
from pathlib import Path

import cv2
import motion_videos
import pytest
import quickstart
import report
from mmengine.config import Config

SHORT = [
    'train_cfg.max_iters=2', 'param_scheduler.0.end=1',
    'param_scheduler.1.begin=1', 'param_scheduler.1.end=2',
    'default_hooks.logger.interval=1', 'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False'
]


@pytest.fixture(scope='module')
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quickstart of two steps a model."""
    out = tmp_path_factory.mktemp('quickstart')
    motion_videos.main(
        [str(out / 'videos'), '--train', '40', '--heldout', '24'])
    videos = quickstart.make_videos(out)
    teacher = quickstart.train_teacher(out, 0, videos)
    run(teacher)
    run(quickstart.train_alone(out, 0, videos))
    run(quickstart.train_amd(out, 0, videos, teacher))
    return out


def run(task: quickstart.Task) -> None:
    done = subprocess.run([sys.executable, *task.command, *SHORT],
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_report_has_pictures_and_numbers(out: Path) -> None:
    report.main([str(out), '--seeds', '0'])
    for name in ('losses.png', 'reconstruction.png'):
        assert cv2.imread(str(out / 'report' / name)).std() > 10
    results = json.loads((out / 'report' / 'results.json').read_text())
    assert set(results['accuracy']) == set(report.CAPTIONS)
    for scores in results['accuracy'].values():
        assert 0 <= scores['linear'][0] <= 1
    text = (out / 'report' / 'results.md').read_text()
    assert all(caption in text for caption in report.CAPTIONS.values())


def test_table_shows_the_spread_over_seeds() -> None:
    scores = {
        name: dict(linear=[.5, .6], neighbours=[.4, .4])
        for name in report.CAPTIONS
    }
    text = report.table(scores, [0, 1], classes=8)
    assert '55.0 ± 7.1' in text and '+0.0, +0.0' in text and '12.5' in text


def test_students_differ_in_nothing_but_the_teacher() -> None:
    alone, amd = (
        Config.fromfile(quickstart.CONFIGS / f'quickstart_{name}_student.py')
        for name in ('videomae', 'amd'))
    for key in ('train_dataloader', 'train_cfg', 'param_scheduler',
                'optim_wrapper'):
        assert alone[key] == amd[key], key
    for key in ('backbone', 'decoder', 'head'):
        assert alone.model[key] == amd.model[key], key


def test_the_amd_config_knows_its_teacher() -> None:
    teacher, amd = (
        Config.fromfile(quickstart.CONFIGS / f'quickstart_{name}.py')
        for name in ('videomae_teacher', 'amd_student'))
    backbone = dict(teacher.model.backbone)
    backbone.pop('init_cfg')
    assert amd.model.teacher.backbone == backbone
    assert Path(amd.model.teacher.checkpoint
                ).name == f'iter_{teacher.train_cfg.max_iters}.pth'
