"""The quickstart: teacher, distillation, fine-tuning, on two CPU cores.

Started by tools/quickstart.sh; needs nothing but Python's own library itself,
and runs the other tools one after the other.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tasks import Crew, Task, TaskError, config_files

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / 'tools' / 'quickstart'
CONFIGS = ROOT / 'configs' / 'quickstart'
STUDENT_CONFIG = 'quickstart_videomae_student.py'
FINETUNE_CONFIG = 'quickstart_finetune_scratch.py'
# What the configs' runs end with.
TEACHER_CHECKPOINT = 'iter_1000.pth'
STUDENT_CHECKPOINT = 'iter_600.pth'
FINETUNED_CHECKPOINT = 'epoch_30.pth'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog='quickstart.sh')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--out', type=Path, default=ROOT / 'work_dirs' / 'quickstart')
    parser.add_argument('--videos', type=Path)
    parser.add_argument('--fine-tune', action='store_true')
    return parser.parse_args()


def make_videos(out: Path, own: Path | None = None) -> Task:
    """The task that makes the videos."""
    program = HERE / 'motion_videos.py'
    command = [str(program), str(out / 'videos')]
    facts: list[str] = []
    if own is not None:
        command += ['--videos', str(own.resolve())]
        facts = [
            f'{file.relative_to(own)} {file.stat().st_size}'
            for file in sorted(own.rglob('*'))
            if file.is_file()
        ]
    return Task('videos', out / 'videos', tuple(command), inputs=(program,), facts=tuple(facts))


def train(
    name: str, config: str, out: Path, seed: int, after: list[Task], options: Sequence[str] = ()
) -> Task:
    """The task that trains a model with tools/train.py.

    Args:
        name (str): Of the run and its folder.
        config (str): In ``CONFIGS``.
        out (Path): The quickstart's folder.
        seed (int): Of the run.
        after (List[Task]): What it rests on.
        options (Sequence[str]): For ``--cfg-options``.
    """
    folder = out / f'seed{seed}' / name
    command = (
        str(ROOT / 'tools' / 'train.py'),
        str(CONFIGS / config),
        '--work-dir',
        str(folder),
        '--seed',
        str(seed),
        '--cfg-options',
        *options,
    )
    return Task(
        f'{name} (seed {seed})',
        folder,
        command,
        inputs=config_files(CONFIGS / config),
        after=tuple(after),
        resume=('--resume',),
    )


def pretrain(
    name: str, config: str, out: Path, seed: int, after: list[Task], options: Sequence[str] = ()
) -> Task:
    """The task that pre-trains a model on the videos, without labels."""
    videos = out / 'videos' / 'unlabelled'
    return train(
        name, config, out, seed, after, [f'train_dataloader.dataset.data_root={videos}', *options]
    )


def train_teacher(out: Path, seed: int, videos: Task) -> Task:
    """The task that trains a seed's teacher."""
    return pretrain('teacher', 'quickstart_videomae_teacher.py', out, seed, [videos])


def train_alone(out: Path, seed: int, videos: Task) -> Task:
    """The task that trains a seed's student by VideoMAE alone."""
    return pretrain('student-videomae', STUDENT_CONFIG, out, seed, [videos])


def train_amd(out: Path, seed: int, videos: Task, teacher: Task) -> Task:
    """The task that distils a seed's student."""
    checkpoint = teacher.folder / TEACHER_CHECKPOINT
    return pretrain(
        'student-amd',
        'quickstart_amd_student.py',
        out,
        seed,
        [videos, teacher],
        [f'model.teacher.checkpoint={checkpoint}'],
    )


def finetune(
    start: str, out: Path, seed: int, videos: Task, student: Task | None = None
) -> list[Task]:
    """The tasks that fine-tune a seed's student with few labels and test it.

    Args:
        start (str): ``scratch``, ``videomae`` or ``amd``.
        out (Path): The quickstart's folder.
        seed (int): Also decides which videos have a label; they are the same
            for all starts.
        videos (Task): Makes the videos.
        student (Task, optional): Pre-trains the student.
    """
    config = f'quickstart_finetune_{start}.py'
    options = [
        f'train_dataloader.dataset.data_root={out / "videos"}',
        f'train_dataloader.dataset.subset_seed={seed}',
    ]
    if student is not None:
        checkpoint = student.folder / STUDENT_CHECKPOINT
        options.append(f'model.backbone.pretrained={checkpoint}')
    after = [videos] if student is None else [videos, student]
    tuning = train(f'finetune-{start}', config, out, seed, after, options)
    folder = out / f'seed{seed}' / f'test-{start}'
    # All weights come from the checkpoint: `pretrained` is not read.
    command = (
        str(ROOT / 'tools' / 'test.py'),
        str(CONFIGS / FINETUNE_CONFIG),
        str(tuning.folder / FINETUNED_CHECKPOINT),
        '--work-dir',
        str(folder),
        '--dump',
        str(folder / 'predictions.pkl'),
        '--cfg-options',
        f'test_dataloader.dataset.data_root={out / "videos"}',
    )
    testing = Task(f'test-{start} (seed {seed})', folder, command, after=(tuning,))
    return [tuning, testing]


def make_report(out: Path, seeds: list[int], fine_tuned: bool, after: list[Task]) -> Task:
    """The task that draws and probes."""
    command = [str(HERE / 'report.py'), str(out), '--seeds', *map(str, seeds)]
    if fine_tuned:
        command.append('--fine-tuned')
    return Task(
        'report',
        out / 'report',
        tuple(command),
        inputs=tuple(sorted(HERE.glob('*.py'))),
        after=tuple(after),
    )


def count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(args: argparse.Namespace) -> Path:
    """Run what is not finished yet; the report's folder."""
    out = args.out.resolve()
    crew = Crew(count_cores())
    videos = make_videos(out, args.videos)
    crew.run([videos])
    tasks: list[Task] = []
    for seed in args.seeds:
        teacher = train_teacher(out, seed, videos)
        alone = train_alone(out, seed, videos)
        amd = train_amd(out, seed, videos, teacher)
        # The longest way first: teacher, distillation, fine-tuning.
        tasks += [teacher, amd, alone]
        if args.fine_tune:
            tasks += [
                *finetune('amd', out, seed, videos, amd),
                *finetune('videomae', out, seed, videos, alone),
                *finetune('scratch', out, seed, videos),
            ]
    # Tiny models gain little from a second core: two runs at a time.
    crew.run(tasks, at_a_time=2)
    report = make_report(out, args.seeds, args.fine_tune, [videos, *tasks])
    crew.run([report])
    return report.folder


def main() -> None:
    """Run everything and show the outcome."""
    started = time.monotonic()
    # Ended from outside, end what was started, as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        folder = run(parse_args())
    except TaskError as error:
        sys.exit(f'\nquickstart.sh: {error}')
    except KeyboardInterrupt:
        sys.exit('\nquickstart.sh: interrupted; the same command goes on')
    print()
    print((folder / 'results.md').read_text())
    print(f'Pictures and numbers: {folder}')
    print(f'Took {time.monotonic() - started:.0f} s.')


if __name__ == '__main__':
    main()
