"""The quickstart: teacher, distillation, comparison, on two CPU cores.

Started by tools/quickstart.sh; needs nothing but Python's own library itself,
and runs the other tools one after the other.
"""
import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import List, Optional, Sequence

from tasks import Crew, Task, TaskError

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / 'tools' / 'quickstart'
CONFIGS = ROOT / 'configs' / 'quickstart'
STUDENT_CONFIG = 'quickstart_videomae_student.py'  # the others' base


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog='quickstart.sh')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument(
        '--out', type=Path, default=ROOT / 'work_dirs' / 'quickstart')
    parser.add_argument('--videos', type=Path)
    return parser.parse_args()


def make_videos(out: Path, own: Optional[Path] = None) -> Task:
    """The task that makes the videos."""
    program = HERE / 'motion_videos.py'
    command = [str(program), str(out / 'videos')]
    if own is not None:
        command += ['--videos', str(own.resolve())]
    return Task('videos', out / 'videos', tuple(command), inputs=(program, ))


def train(name: str,
          config: str,
          out: Path,
          seed: int,
          after: List[Task],
          options: Sequence[str] = ()) -> Task:
    """The task that trains a model with tools/train.py."""
    folder = out / f'seed{seed}' / name
    videos = out / 'videos' / 'unlabelled'
    command = (str(ROOT / 'tools' / 'train.py'), str(CONFIGS / config),
               '--work-dir', str(folder), '--seed', str(seed), '--cfg-options',
               f'train_dataloader.dataset.data_root={videos}', *options)
    return Task(
        f'{name} (seed {seed})',
        folder,
        command,
        inputs=tuple(CONFIGS / name for name in (STUDENT_CONFIG, config)),
        after=tuple(after),
        resume=('--resume', ))


def train_teacher(out: Path, seed: int, videos: Task) -> Task:
    """The task that trains a seed's teacher."""
    return train('teacher', 'quickstart_videomae_teacher.py', out, seed,
                 [videos])


def train_alone(out: Path, seed: int, videos: Task) -> Task:
    """The task that trains a seed's student by VideoMAE alone."""
    return train('student-videomae', STUDENT_CONFIG, out, seed, [videos])


def train_amd(out: Path, seed: int, videos: Task, teacher: Task) -> Task:
    """The task that distils a seed's student; its teacher is there."""
    checkpoint = (teacher.folder / 'last_checkpoint').read_text().strip()
    return train('student-amd', 'quickstart_amd_student.py', out, seed,
                 [videos, teacher], [f'model.teacher.checkpoint={checkpoint}'])


def make_report(out: Path, seeds: List[int], after: List[Task]) -> Task:
    """The task that draws and probes."""
    return Task(
        'report',
        out / 'report',
        (str(HERE / 'report.py'), str(out), '--seeds', *map(str, seeds)),
        inputs=tuple(sorted(HERE.glob('*.py'))),
        after=tuple(after))


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
    runs, distil = [videos], []
    for seed in args.seeds:
        teacher = train_teacher(out, seed, videos)
        alone = train_alone(out, seed, videos)
        # Tiny models gain little from a second core: two runs at a time, the
        # distillation of the seed before among them.
        crew.run([*distil, teacher, alone], at_a_time=2)
        distil = [train_amd(out, seed, videos, teacher)]
        runs += [teacher, alone, *distil]
    crew.run(distil)
    report = make_report(out, args.seeds, runs)
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
