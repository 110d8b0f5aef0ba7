"""tools/quickstart: the videos, the steps, and the whole chain in a few training steps."""

import importlib
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from amd_mm.datasets import open_video, read_list_file
from mmengine.config import Config

from tests.conftest import process_of_its_own

from .tool_scripts import run_tool

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs' / 'quickstart'
SMALL = [
    'default_hooks.logger.interval=1',
    'train_dataloader.batch_size=2',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
]
PRETRAIN = [*SMALL, 'train_cfg.max_iters=2', 'param_scheduler.0.end=1', 'param_scheduler.1.begin=1']
FINETUNE = [
    *SMALL,
    'train_dataloader.dataset.samples_per_class=1',
    'train_cfg.max_epochs=1',
    'param_scheduler=None',
    'default_hooks.checkpoint.interval=1',
]
TEST = ['test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False']
MODULES = ('steps', 'quickstart', 'motion_videos', 'report', 'digits')


@pytest.fixture(scope='module')
def tools() -> Iterator[SimpleNamespace]:
    """The modules of tools/quickstart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools' / 'quickstart'))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    for name in MODULES:
        sys.modules.pop(name)


# ---------------------------------------------------------------- the videos


def test_one_frame_does_not_show_the_class(tools: SimpleNamespace) -> None:
    """All motions of a seed share the middle frame, and the distribution of shapes is the same."""
    videos = tools.motion_videos
    middle = videos.NUM_FRAMES // 2
    middles = [videos.render(motion, seed=3)[middle] for motion in videos.MOTIONS]
    assert all(np.array_equal(middles[0], other) for other in middles[1:])

    def brightness(motion: str) -> np.ndarray:
        """Mean distance from a frame's median, for each time."""
        curves = []
        for seed in range(40):
            frames = videos.render(motion, seed).astype(float)
            apart = np.abs(frames - np.median(frames, (1, 2), keepdims=True))
            curves.append(apart.mean((1, 2, 3)))
        return np.mean(curves, 0)

    left = brightness('left')
    for motion in ('left', 'grow', 'shrink'):
        assert np.allclose(brightness(motion), left.mean(), rtol=0.2)


@pytest.mark.parametrize(
    'first, second',
    [('left', 'right'), ('up', 'down'), ('clockwise', 'counter-clockwise'), ('grow', 'shrink')],
)
def test_backwards_is_the_opposite_class(tools: SimpleNamespace, first: str, second: str) -> None:
    videos = tools.motion_videos
    middle = videos.NUM_FRAMES // 2
    one, other = videos.render(first, seed=5), videos.render(second, seed=5)
    for step in range(1, middle):
        assert np.array_equal(one[middle + step], other[middle - step])
    assert not np.array_equal(one[middle + 3], other[middle + 3])


def test_shapes_move_as_the_class_says(tools: SimpleNamespace) -> None:
    pace = tools.motion_videos.Pace(speed=4.0, growth=0.1, orbit=10.0, angle=0.0)
    assert pace.shift('left', 2).tolist() == [-8, 0]
    assert pace.shift('down', 2).tolist() == [0, 8]
    # From the rightmost point, clockwise is down; y points down.
    assert pace.shift('clockwise', 1)[1] > 0 > pace.shift('counter-clockwise', 1)[1]
    assert pace.log_growth('grow', 2) == -pace.log_growth('shrink', 2) == 0.2
    assert pace.log_growth('left', 2) == 0


def test_videos_decode_to_the_rendered_frames(tools: SimpleNamespace, tmp_path: Path) -> None:
    frames = tools.motion_videos.render('up', seed=1)
    tools.motion_videos.write_video(tmp_path / 'a.mp4', frames)
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']
    with open_video(str(tmp_path / 'a.mp4')) as reader:
        decoded = np.stack(reader.read(range(len(reader))))
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(float) - frames).mean() < 5


def test_folders_lists_and_excerpts(
    tools: SimpleNamespace, tmp_path: Path, make_video: Callable, capsys: pytest.CaptureFixture
) -> None:
    own, folder = tmp_path / 'own', tmp_path / 'set'
    make_video(own / 'deep' / 'my clip.mp4', frames=80, size=(96, 160))
    make_video(own / 'short.avi', frames=5)
    (own / 'broken.mp4').write_bytes(b'no video')
    counts = ['--train', '16', '--heldout', '8']
    tools.motion_videos.main([str(folder), *counts, '--videos', str(own)])
    entries = read_list_file(str(folder / 'train.txt'), num_classes=8)
    assert [entry.labels for entry in entries] == [(label,) for label in range(8)] * 2
    assert all((folder / entry.name).is_file() for entry in entries)
    assert len(list((folder / 'heldout').iterdir())) == 8
    sizes = []
    for path in sorted((folder / 'unlabelled' / 'yours').iterdir()):
        with open_video(str(path)) as reader:
            sizes.append((len(reader), *reader.read([0])[0].shape[:2]))
    assert sizes == [(64, 106, 64), (5, 64, 86)]
    assert 'broken.mp4' in capsys.readouterr().out


# ---------------------------------------------------------------- the steps


@pytest.fixture
def step(tools: SimpleNamespace, tmp_path: Path) -> Callable:
    """Make a step that runs Python code and then writes its output, NAME/done."""

    def make(name: str, code: str = 'pass') -> object:
        output = tmp_path / name / 'done'
        code = f'{code}\nopen({str(output)!r}, "w").close()'
        return tools.steps.Step(name, ['-c', code], output)

    return make


@pytest.fixture
def runner(tools: SimpleNamespace) -> object:
    return tools.steps.Runner(sys.executable)


def test_steps_run_in_order_and_finished_ones_are_skipped(
    step: Callable, runner: object, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    order = f'open({str(tmp_path / "order")!r}, "a").write'
    first = step('first', f'import time; time.sleep(.3); {order}("1")')
    second, other = step('second', f'{order}("2")'), step('other', f'{order}("o")')
    runner.run([first, second], [other])
    assert (tmp_path / 'order').read_text() == 'o12'
    second.output.unlink()
    runner.run([first, second], [other])
    assert (tmp_path / 'order').read_text() == 'o122'
    assert capsys.readouterr().out.count('skipped') == 2


def test_a_failed_step_shows_its_log_and_ends_the_others(
    tools: SimpleNamespace, step: Callable, runner: object
) -> None:
    slow, late = step('slow', 'import time; time.sleep(60)'), step('late')
    bad = step('bad', 'import time; time.sleep(.3); print("all"); raise SystemExit("is lost")')
    with pytest.raises(tools.steps.StepError, match=r'(?s)exit code 1.*all.*is lost.*bad/quick'):
        runner.run([slow, late], [bad])
    assert not slow.output.exists() and not late.log.exists()


def test_a_step_that_writes_nothing_has_failed(
    tools: SimpleNamespace, runner: object, tmp_path: Path
) -> None:
    empty = tools.steps.Step('empty', ['-c', 'pass'], tmp_path / 'a' / 'done')
    with pytest.raises(tools.steps.StepError, match='empty failed'):
        runner.run([empty])


def test_chains_share_the_cores(step: Callable, runner: object) -> None:
    runner.cores = 4
    code = 'import os, time; time.sleep(.3); print("threads", os.environ["OMP_NUM_THREADS"])'
    chains = [step('1', code), step('1 later', code)], [step('2', code)]
    runner.run(*chains)
    threads = {one.name: one.log.read_text().strip() for chain in chains for one in chain}
    assert threads == {'1': 'threads 2', '1 later': 'threads 4', '2': 'threads 2'} or (
        threads['1'] == threads['2'] == 'threads 2'
    )


def test_progress_of_a_training_log(tools: SimpleNamespace) -> None:
    line = (
        '11/20 19:41:02 - mmengine - INFO - Iter(train) [ 50/900]  lr: 1.5e-03  eta: 0:01:40  '
        'time: 0.11  data_time: 0.01  loss: 0.4321  loss_rec: 0.4321\n'
    )
    assert tools.steps.PROGRESS.search(line).groups() == ('50', '900', '0.4321')


# ---------------------------------------------------------------- the whole chain


@pytest.fixture(scope='module')
def out(tools: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quickstart of two steps per model; one of the three starts is fine-tuned."""
    out, quickstart = tmp_path_factory.mktemp('quickstart'), tools.quickstart
    tools.motion_videos.main([str(out / 'videos'), '--train', '40', '--heldout', '24'])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickstart, 'TEACHER_CHECKPOINT', 'iter_2.pth')
        patch.setattr(quickstart, 'STUDENT_CHECKPOINT', 'iter_2.pth')
        patch.setattr(quickstart, 'FINETUNED_CHECKPOINT', 'epoch_1.pth')
        longest, _ = quickstart.chains_of(out, [0], fine_tune=True)
        teacher, amd, tuning, testing = longest
        videomae = quickstart.pretrain(out, 0)[2]
        for one, options in (
            (teacher, PRETRAIN),
            (videomae, PRETRAIN),
            (amd, PRETRAIN),
            (tuning, FINETUNE),
            (testing, TEST),
        ):
            script, *arguments = one.command
            with process_of_its_own():
                done = run_tool(Path(script).stem, *arguments, *options)
            assert done.returncode == 0, done.stdout + done.stderr
            assert one.output.is_file()
    for start in ('scratch', 'videomae'):
        for name in ('finetune', 'test'):
            shutil.copytree(out / 'seed0' / f'{name}-amd', out / 'seed0' / f'{name}-{start}')
    return out


def test_report(tools: SimpleNamespace, out: Path) -> None:
    report = tools.report
    report.main([str(out), '--seeds', '0', '--fine-tuned'])
    for name in ('accuracies.png', 'losses.png', 'reconstruction.png'):
        assert cv2.imread(str(out / 'report' / name)).std() > 10
    results = json.loads((out / 'report' / 'results.json').read_text())
    assert set(results['accuracy']) == set(report.CAPTIONS)
    for scores in results['accuracy'].values():
        assert 0 <= scores['linear'][0] <= 1
    (tuned,) = results['accuracy']['student-amd']['finetuned']
    assert 0 <= tuned <= 1 and (24 * tuned) % 1 == pytest.approx(0)
    assert 'finetuned' not in results['accuracy']['teacher']
    text = (out / 'report' / 'results.md').read_text()
    assert all(caption in text for caption in report.CAPTIONS.values())


def test_fine_tuning_starts_from_the_student(out: Path) -> None:
    log = (next((out / 'seed0' / 'finetune-amd').glob('2*/*.log'))).read_text()
    assert str(out / 'seed0' / 'student-amd' / 'iter_2.pth') in log
    assert '8 of 40 samples' in log


def test_quickstart_runs_every_step(
    tools: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order, with --force for all of them."""
    ran: list[str] = []
    lock = threading.Lock()

    def pretend(self, one) -> None:
        with lock:
            ran.append(one.name)
        one.output.parent.mkdir(parents=True, exist_ok=True)
        one.output.write_text('table')

    monkeypatch.setattr(tools.steps.Runner, '_run_step', pretend)
    args = tools.quickstart.parse_args(['--out', str(tmp_path), '--fine-tune'])
    assert tools.quickstart.run(args, sys.executable).read_text() == 'table'
    assert len(ran) == 11 and (ran[0], ran[-1]) == ('videos', 'report')
    assert ran.index('teacher (seed0)') < ran.index('student-amd (seed0)')
    ran.clear()
    tools.quickstart.run(args, sys.executable)
    assert ran == ['report']
    args.force = True
    tools.quickstart.run(args, sys.executable)
    assert len(ran) == 12


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--video', 'x', '--videos', '/nowhere'], '/nowhere is not a folder'),
        (['--seeds', '1', 'two'], "invalid int value: 'two'"),
        (['--wrong'], 'unrecognized arguments: --wrong'),
    ],
)
def test_wrong_options(
    tools: SimpleNamespace, capsys: pytest.CaptureFixture, arguments: list, message: str
) -> None:
    with pytest.raises(SystemExit):
        tools.quickstart.parse_args(arguments)
    assert message in capsys.readouterr().err


def test_table_shows_the_spread_over_seeds(tools: SimpleNamespace) -> None:
    report = tools.report
    scores = {name: dict(linear=[0.5, 0.6], neighbours=[0.4, 0.4]) for name in report.CAPTIONS}
    text = report.table(scores)
    assert '55.0 ± 7.1' in text and '+0.0, +0.0' in text and 'fine-tuned' not in text
    for name, values in zip(report.STARTS, ([0.2, 0.3], [0.4, 0.5], [0.7, 0.4])):
        scores[name]['finetuned'] = values
    text = report.table(scores)
    assert '45.0 ± 7.1' in text and '+30.0, -10.0' in text and 'chance is 12.5' in text
    (teacher,) = (row for row in text.splitlines() if 'teacher' in row)
    assert teacher.split('|')[-2].strip() == '-'


def config(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'quickstart_{name}.py')


def test_students_differ_in_nothing_but_the_teacher() -> None:
    alone, amd = config('videomae_student'), config('amd_student')
    for key in ('train_dataloader', 'train_cfg', 'param_scheduler', 'optim_wrapper'):
        assert alone[key] == amd[key], key
    for key in ('backbone', 'decoder', 'head'):
        assert alone.model[key] == amd.model[key], key


def test_fine_tuning_has_the_student() -> None:
    student, tuned = (config(name).model.backbone for name in ('videomae_student', 'finetune'))
    assert 'pretrained' not in tuned
    for key, value in tuned.items():
        if key != 'drop_path_rate':
            assert student[key] == value, key


def test_checkpoints_are_those_of_the_configs(tools: SimpleNamespace) -> None:
    for name, checkpoint in (
        ('videomae_teacher', tools.quickstart.TEACHER_CHECKPOINT),
        ('videomae_student', tools.quickstart.STUDENT_CHECKPOINT),
        ('finetune', tools.quickstart.FINETUNED_CHECKPOINT),
    ):
        unit = 'epoch' if 'epoch' in checkpoint else 'iter'
        assert checkpoint == f'{unit}_{config(name).train_cfg[f"max_{unit}s"]}.pth'
    teacher, amd = config('videomae_teacher'), config('amd_student')
    backbone = dict(teacher.model.backbone)
    backbone.pop('init_cfg')
    assert amd.model.teacher.backbone == backbone
    assert Path(amd.model.teacher.checkpoint).name == tools.quickstart.TEACHER_CHECKPOINT


# ---------------------------------------------------------------- digits


def test_digit_images(tools: SimpleNamespace, tmp_path: Path) -> None:
    datasets = pytest.importorskip('sklearn.datasets')
    digits = datasets.load_digits()
    tools.digits.write_images(tmp_path)
    found = sorted(tmp_path.glob('*/*/*.png'))
    assert len(found) == len(digits.target) == 1797
    assert sum(path.parts[-3] == 'val' for path in found) == 500
    for path in found[::50]:
        index = int(path.stem)
        assert int(path.parent.name) == digits.target[index]
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert picture.shape == (16, 16)
        small = cv2.resize(picture, (8, 8), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(small.ravel(), digits.images[index].ravel())[0, 1] > 0.9


def test_both_starts_of_the_digits_differ_in_the_weights_only(
    tools: SimpleNamespace, tmp_path: Path
) -> None:
    digits = tools.digits
    for seed in (3, 4):
        alone, tuned = (
            {part for part in digits.finetune(tmp_path, start, seed).command if start not in part}
            for start in ('scratch', 'tinymim')
        )
        (extra,) = tuned - alone
        assert extra.startswith('model.backbone.pretrained=') and not alone - tuned
        assert f'train_dataloader.dataset.subset_seed={seed}' in alone
    for name, checkpoint in (('tinymim', digits.PRETRAINED), ('finetune', digits.FINETUNED)):
        cfg = Config.fromfile(digits.CONFIGS / f'quickstart_image_{name}.py')
        assert checkpoint == f'epoch_{cfg.train_cfg.max_epochs}.pth'


def test_table_of_the_digits(tools: SimpleNamespace) -> None:
    text = tools.digits.table(dict(scratch=[60.0, 70.0], tinymim=[80.0, 81.0]), [0, 5])
    lines = text.splitlines()
    assert lines[0].split('|')[3].strip() == 'seed 5'
    assert [cell.strip() for cell in lines[2].split('|')[2:-1]] == ['60.0', '70.0', '65.0']
    assert '80.5' in lines[3]
