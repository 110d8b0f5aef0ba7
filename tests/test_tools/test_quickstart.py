"""tools/quickstart: the videos, the steps, and the whole chain in a few training steps."""

import hashlib
import importlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from amd_mm.checkpoints import read_checkpoint
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
    'train_cfg.max_iters=2',
    'param_scheduler.0.end=1',
    'param_scheduler.1.begin=1',
]
MODULES = ('steps', 'quickstart', 'motion_videos', 'export_teacher', 'report', 'digits')


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
    brightness = {  # mean for each time
        motion: np.mean([videos.render(motion, seed).mean((1, 2, 3)) for seed in range(24)], 0)
        for motion in ('left', 'grow', 'shrink')
    }
    for curve in brightness.values():
        assert np.allclose(curve, brightness['left'].mean(), rtol=0.15)


def test_backwards_is_the_opposite_class(tools: SimpleNamespace) -> None:
    videos = tools.motion_videos
    middle = videos.NUM_FRAMES // 2
    for first, second in zip(videos.MOTIONS[::2], videos.MOTIONS[1::2]):
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


def test_folders_lists_and_excerpts(
    tools: SimpleNamespace, tmp_path: Path, make_video: Callable, capsys: pytest.CaptureFixture
) -> None:
    own, folder = tmp_path / 'own', tmp_path / 'set'
    make_video(own / 'deep' / 'my clip.mp4', frames=80, size=(96, 160))
    make_video(own / 'short.avi', frames=5)
    (own / 'broken.mp4').write_bytes(b'no video')
    counts = ['--train', '16', '--heldout', '8', '--first-seed', '30']
    tools.motion_videos.main([str(folder), *counts, '--videos', str(own)])
    entries = read_list_file(str(folder / 'train.txt'), num_classes=8)
    assert [entry.labels for entry in entries] == [(label,) for label in range(8)] * 2
    assert all((folder / entry.name).is_file() for entry in entries)
    assert len(list((folder / 'heldout').iterdir())) == 8
    with open_video(str(folder / entries[2].name)) as reader:
        decoded = np.stack(reader.read(range(len(reader))))
    rendered = tools.motion_videos.render('up', seed=32)
    assert decoded.shape == rendered.shape
    assert np.abs(decoded.astype(float) - rendered).mean() < 5
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

    def make(name: str, code: str = 'pass', writes: bool = True) -> object:
        output = tmp_path / name / 'done'
        if writes:
            code = f'{code}\nopen({str(output)!r}, "w").close()'
        return tools.steps.Step(name, ['-c', code], output)

    return make


def test_steps_run_in_order_and_finished_ones_are_skipped(
    tools: SimpleNamespace, step: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runner, order = tools.steps.Runner(), tmp_path / 'order'
    runner.cores = 4
    # Each says its number and its threads.
    say = f'import os; open({str(order)!r}, "a").write("%s" + os.environ["OMP_NUM_THREADS"] + " ")'
    first, second = step('first', say % 'a'), step('second', say % 'b')
    third = step('third', f'import time; time.sleep(.3); {say % "c"}')
    phases = [[first, second]], [[third], [step('fourth')]]
    runner.run(*phases)
    assert order.read_text() == 'a4 b4 c2 '
    second.output.unlink()
    runner.run(*phases)
    assert order.read_text() == 'a4 b4 c2 b4 '
    assert capsys.readouterr().out.count('skipped') == 3


def test_a_failed_step_shows_its_log_and_ends_the_others(
    tools: SimpleNamespace, step: Callable
) -> None:
    slow, late = step('slow', 'import time; time.sleep(600)'), step('late')
    bad = step('bad', 'import time; time.sleep(.3); print("all"); raise SystemExit("is lost")')
    with pytest.raises(tools.steps.StepError, match=r'(?s)exit code 1.*all.*is lost.*bad/quick'):
        tools.steps.Runner().run([[slow, late], [bad]])
    assert not slow.output.exists() and not late.log.exists()
    with pytest.raises(tools.steps.StepError, match='empty failed'):
        tools.steps.Runner().run([[step('empty', writes=False)]])


def test_time_left(tools: SimpleNamespace, tmp_path: Path) -> None:
    def step(name: str, seconds: float) -> object:
        return tools.steps.Step(name, [], tmp_path / name, seconds)

    long, short, other, last = (step(*pair) for pair in zip('abcd', (60, 40, 40, 20)))
    progress = tools.steps.Progress([[[long], [short], [other]], [[last]]])
    assert progress.work_left() == 90  # three chains on two cores: 70, then 20
    progress.update(long, 0.5, '300/600')
    assert progress.work_left() == 75
    # Of 15 seconds' work in 30 seconds; five seconds at the planned speed count as well.
    assert progress.seconds_left(elapsed=30) == pytest.approx(75 * 35 / 20)
    progress.finish(long, 'done')
    assert progress.work_left() == 60  # 40 in parallel, then 20


@pytest.mark.parametrize(
    'line, output, expected',
    [
        ('Iter(train) [ 50/200]  lr: 1.5e-03 ', 'iter_200.pth', (0.25, '50/200, loss 0.4321')),
        ('Epoch(train)  [3][10/20]  lr: 0.1 ', 'epoch_4.pth', (0.625, 'epoch 3/4, loss 0.4321')),
    ],
)
def test_progress_of_a_training_log(
    tools: SimpleNamespace, line: str, output: str, expected: tuple
) -> None:
    step = tools.steps.Step('training', [], Path(output))
    line = f'11/20 19:41:02 - mmengine - INFO - {line} eta: 0:01:40  loss: 0.4321  loss_rec: 0.4\n'
    assert step.trained(*tools.steps.TRAINING.search(line).groups()) == expected


# ---------------------------------------------------------------- the whole chain


@pytest.fixture(scope='module')
def out(tools: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quickstart of two steps per student with the shipped teacher."""
    out, quickstart = tmp_path_factory.mktemp('quickstart'), tools.quickstart
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickstart, 'STUDENT_CHECKPOINT', 'iter_2.pth')
        args = quickstart.parse_args(['--out', str(out)])
        (((videos,),), ((amd,), (videomae, report))) = quickstart.plan(args)
        tools.motion_videos.main([*videos.command[1:], '--train', '96', '--heldout', '104'])
        assert videos.output.is_file()
        for step in (videomae, amd, report):
            script, *arguments = step.command
            with process_of_its_own():
                if Path(script).stem == 'report':
                    tools.report.main(arguments)
                else:
                    done = run_tool(Path(script).stem, *arguments, *SMALL)
                    assert done.returncode == 0, done.stdout + done.stderr
            assert step.output.is_file()
    return out / 'report'


def test_report(tools: SimpleNamespace, out: Path) -> None:
    for name in tools.report.PICTURES:
        assert cv2.imread(str(out / name)).std() > 10
    page = (out / 'report.html').read_text()
    assert page.count('src="data:image/png;base64,') == len(tools.report.PICTURES)
    scores = json.loads((out / 'results.json').read_text())['accuracy']
    assert set(scores) == set(tools.report.CAPTIONS)
    # Students of two steps know nothing. The shipped teacher knows the motions.
    assert scores['teacher']['neighbours'][0] > 1.5 * scores['student-amd']['neighbours'][0]
    text = (out / 'results.md').read_text()
    assert all(caption in text for caption in tools.report.CAPTIONS.values())


def test_the_report_waits_for_the_last_checkpoint(tools: SimpleNamespace, tmp_path: Path) -> None:
    newest = tmp_path / 'last_checkpoint'
    newest.write_text('/run/iter_1.pth')
    waiting = threading.Thread(target=tools.report.wait_for, args=(tmp_path, 'iter_2.pth'))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    newest.write_text('/run/iter_2.pth')
    waiting.join()


def test_dense_tokens(tools: SimpleNamespace) -> None:
    """A token's place in the map is its place in the clip."""
    report = tools.report
    cfg = Config.fromfile(CONFIGS / 'quickstart_videomae_student.py')
    encoder = report.Encoder(report.MODELS.build(cfg.model.backbone))
    clips = report.torch.randint(0, 256, (3, 3, 8, 32, 32), dtype=report.torch.uint8)
    found = report.dense_tokens(encoder, clips)
    assert found.shape == (3, 4, 16, 16, 96)
    tokens = encoder.encode(clips.roll((-2, -4), (-2, -1)), keep_tokens=True)
    assert report.torch.allclose(found[:, :, 1::4, 2::4], tokens - tokens.mean(0), atol=1e-5)


def test_quickstart_plans_every_step(
    tools: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order, with --force for all of them."""
    ran: list[str] = []

    def pretend(self, one, niceness) -> None:
        ran.append(one.name)
        one.output.parent.mkdir(parents=True, exist_ok=True)
        one.output.write_text('made')

    monkeypatch.setattr(tools.steps.Runner, '_run_step', pretend)
    args = tools.quickstart.parse_args(['--out', str(tmp_path), '--train-teacher'])
    assert tools.quickstart.run(args) == tmp_path / 'report'
    assert ran[:4] == ['videos', 'teacher-videos', 'teacher', 'teacher file']
    assert sorted(ran[4:]) == ['report', 'student-amd', 'student-videomae']
    assert ran.index('student-videomae') < ran.index('report')
    ran.clear()
    tools.quickstart.run(args)
    assert ran == ['report']
    args.force = True
    tools.quickstart.run(args)
    assert len(ran) == 1 + 7


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--videos', '/nowhere'], '/nowhere is not a folder'),
        (['--seeds', '1', 'two'], "invalid int value: 'two'"),
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
    scores[report.AMD] = dict(linear=[0.7, 0.9], neighbours=[0.5, 0.5])
    text = report.table(scores)
    assert '55.0 ± 7.1' in text and '+20.0, +30.0' in text and 'chance is 12.5' in text


def config(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'quickstart_{name}.py')


def test_students_differ_in_the_teacher_and_the_learning_rate() -> None:
    alone, amd = config('videomae_student'), config('amd_student')
    amd.optim_wrapper.optimizer.lr /= 2
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
    ):
        assert checkpoint == f'iter_{config(name).train_cfg.max_iters}.pth'
    teacher, amd = config('videomae_teacher'), config('amd_student')
    backbone = dict(teacher.model.backbone)
    backbone.pop('init_cfg')
    assert amd.model.teacher.backbone == backbone
    assert Path(amd.model.teacher.checkpoint) == tools.quickstart.TEACHER


def test_shipped_teacher(tools: SimpleNamespace, tmp_path: Path) -> None:
    content = tools.quickstart.TEACHER.read_bytes()
    assert len(content) < 4e6
    assert hashlib.sha256(content).hexdigest() in (CONFIGS / 'README.md').read_text()
    again = tmp_path / 'again.safetensors'
    tools.export_teacher.main([str(tools.quickstart.TEACHER), str(again)])
    state, copy = read_checkpoint(tools.quickstart.TEACHER), read_checkpoint(again)
    assert state.keys() == copy.keys()
    assert all(bool((copy[name] == value).all()) for name, value in state.items())


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
