"""The whole chain in a few steps: configs, tools/train.py, report."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import motion_videos
import pytest
import quickstart
import report
from mmengine.config import Config

SMALL = [
    'default_hooks.logger.interval=1',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
]
PRETRAIN = [
    *SMALL,
    'train_cfg.max_iters=2',
    'param_scheduler.0.end=1',
    'param_scheduler.1.begin=1',
    'param_scheduler.1.end=2',
]
FINETUNE = [
    *SMALL,
    'train_dataloader.dataset.clips_per_class=1',
    'train_cfg.max_epochs=1',
    'default_hooks.checkpoint.interval=1',
]
TEST = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']


@pytest.fixture(scope='module')
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A quickstart of two steps a model; one of the three is fine-tuned."""
    out = tmp_path_factory.mktemp('quickstart')
    motion_videos.main([str(out / 'videos'), '--train', '40', '--heldout', '24'])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickstart, 'TEACHER_CHECKPOINT', 'iter_2.pth')
        patch.setattr(quickstart, 'STUDENT_CHECKPOINT', 'iter_2.pth')
        patch.setattr(quickstart, 'FINETUNED_CHECKPOINT', 'epoch_1.pth')
        videos = quickstart.make_videos(out)
        teacher = quickstart.train_teacher(out, 0, videos)
        amd = quickstart.train_amd(out, 0, videos, teacher)
        for task in (teacher, quickstart.train_alone(out, 0, videos), amd):
            run(task, PRETRAIN)
        tuning, testing = quickstart.finetune('amd', out, 0, videos, amd)
        run(tuning, FINETUNE)
        run(testing, TEST)
    for start in ('scratch', 'videomae'):
        for name in ('finetune', 'test'):
            shutil.copytree(out / 'seed0' / f'{name}-amd', out / 'seed0' / f'{name}-{start}')
    return out


def run(task: quickstart.Task, options: list[str]) -> None:
    done = subprocess.run([sys.executable, *task.command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_report_has_pictures_and_numbers(out: Path) -> None:
    report.main([str(out), '--seeds', '0', '--fine-tuned'])
    for name in ('accuracies.png', 'losses.png', 'reconstruction.png'):
        assert cv2.imread(str(out / 'report' / name)).std() > 10
    results = json.loads((out / 'report' / 'results.json').read_text())
    assert set(results['accuracy']) == set(report.CAPTIONS)
    for scores in results['accuracy'].values():
        assert 0 <= scores['linear'][0] <= 1
    tuned = results['accuracy']['student-amd']['finetuned']
    assert 0 <= tuned[0] <= 1 and (24 * tuned[0]) % 1 == pytest.approx(0)
    assert 'finetuned' not in results['accuracy']['teacher']
    text = (out / 'report' / 'results.md').read_text()
    assert all(caption in text for caption in report.CAPTIONS.values())
    assert '1 labelled videos of each class' in text


def test_fine_tuning_starts_from_the_student(out: Path) -> None:
    """And its weights, not others', were tested."""
    log = (next((out / 'seed0' / 'finetune-amd').glob('2*/*.log'))).read_text()
    assert str(out / 'seed0' / 'student-amd' / 'iter_2.pth') in log
    assert '8 of 40 samples' in log


def test_table_shows_the_spread_over_seeds() -> None:
    scores = {name: dict(linear=[0.5, 0.6], neighbours=[0.4, 0.4]) for name in report.CAPTIONS}
    for name, values in zip(report.STARTS, ([0.2, 0.3], [0.4, 0.5], [0.7, 0.4])):
        scores[name]['finetuned'] = values
    text = report.table(scores, [0, 1], classes=8, labels=16)
    assert '55.0 ± 7.1' in text and '+0.0, +0.0' in text and '12.5' in text
    assert '45.0 ± 7.1' in text and '+30.0, -10.0' in text
    assert '16 labelled' in text
    (teacher,) = (row for row in text.splitlines() if 'teacher' in row)
    assert teacher.split('|')[-2].strip() == '-'


def test_table_without_fine_tuning() -> None:
    scores = {name: dict(linear=[0.5], neighbours=[0.4]) for name in report.CAPTIONS}
    text = report.table(scores, [0], classes=8)
    assert '50.0' in text and 'ine-tuned' not in text
    assert list(report.probes_of(scores)) == ['linear', 'neighbours']


def test_more_videos_of_ones_own_change_the_task(tmp_path: Path) -> None:
    own, out = tmp_path / 'own', tmp_path / 'out'
    own.mkdir()
    keys = set()
    for name in ('a.mp4', 'b.mp4', 'a.mp4'):
        (own / name).write_text(name * (1 + len(keys)))
        keys.add(quickstart.make_videos(out, own).key())
    assert len(keys) == 3
    assert quickstart.make_videos(out, own).key() in keys


def test_all_videos_are_decoded_alike() -> None:
    """One decoder for pre-training, fine-tuning and probes."""
    found = {report.probe_pipeline()[0]['backend']}
    for start in ('videomae_student', 'finetune_scratch'):
        cfg = Config.fromfile(quickstart.CONFIGS / f'quickstart_{start}.py')
        for loader in ('train_dataloader', 'test_dataloader'):
            if cfg.get(loader):
                found.add(cfg[loader].dataset.pipeline[0].get('backend'))
    assert found == {'pyav'}


def test_students_differ_in_nothing_but_the_teacher() -> None:
    alone, amd = (
        Config.fromfile(quickstart.CONFIGS / f'quickstart_{name}_student.py')
        for name in ('videomae', 'amd')
    )
    for key in ('train_dataloader', 'train_cfg', 'param_scheduler', 'optim_wrapper'):
        assert alone[key] == amd[key], key
    for key in ('backbone', 'decoder', 'head'):
        assert alone.model[key] == amd.model[key], key


def test_fine_tuning_differs_in_nothing_but_the_start() -> None:
    student = Config.fromfile(quickstart.CONFIGS / 'quickstart_videomae_student.py').model.backbone
    configs = {
        start: Config.fromfile(quickstart.CONFIGS / f'quickstart_finetune_{start}.py')
        for start in report.STARTS.values()
    }
    starts = []
    for cfg in configs.values():
        starts.append(cfg.model.backbone.pop('pretrained', None))
        cfg.pop('pretrained', None)
        assert cfg.to_dict() == configs['scratch'].to_dict()
    assert starts[0] is None
    for start, name in zip(starts[1:], (report.STUDENT, report.AMD)):
        assert Path(start).parts[-2:] == (name, quickstart.STUDENT_CHECKPOINT)
    for key, value in configs['scratch'].model.backbone.items():
        if key != 'drop_path_rate':
            assert student[key] == value, key


def test_runs_end_with_the_checkpoints_that_are_looked_for() -> None:
    for name, checkpoint in (
        ('videomae_teacher', quickstart.TEACHER_CHECKPOINT),
        ('videomae_student', quickstart.STUDENT_CHECKPOINT),
        ('finetune_scratch', quickstart.FINETUNED_CHECKPOINT),
    ):
        cfg = Config.fromfile(quickstart.CONFIGS / f'quickstart_{name}.py')
        unit = 'epoch' if 'epoch' in checkpoint else 'iter'
        length = cfg.train_cfg[f'max_{unit}s']
        assert checkpoint == f'{unit}_{length}.pth'


def test_the_amd_config_knows_its_teacher() -> None:
    teacher, amd = (
        Config.fromfile(quickstart.CONFIGS / f'quickstart_{name}.py')
        for name in ('videomae_teacher', 'amd_student')
    )
    backbone = dict(teacher.model.backbone)
    backbone.pop('init_cfg')
    assert amd.model.teacher.backbone == backbone
    assert Path(amd.model.teacher.checkpoint).name == f'iter_{teacher.train_cfg.max_iters}.pth'
