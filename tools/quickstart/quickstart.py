"""Show on small videos, on two CPU cores, that distillation works.

Makes videos whose classes differ only in motion, distils a small student from a shipped teacher
(AMD), trains the same student without a teacher for as many steps (VideoMAE), and reports losses,
reconstructions, and what the frozen features know about the motions. Takes minutes after the
installation, which it runs if needed. Interrupted, the same command continues; finished steps are
skipped.
"""

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from steps import ROOT, Chain, Runner, Step, StepError, ensure_installed

TOOLS = ROOT / 'tools'
CONFIGS = ROOT / 'configs' / 'quickstart'
TEACHER = CONFIGS / 'quickstart_teacher.safetensors'
# The last checkpoints of the configs' runs.
TEACHER_CHECKPOINT = 'iter_4000.pth'
STUDENT_CHECKPOINT = 'iter_600.pth'
# Seeds and numbers of the teacher's videos; none is among the student's.
TEACHER_VIDEOS = ('--train', '4096', '--heldout', '0', '--first-seed', '5000000')
NEXT = """
Next, your own videos, with a public teacher (docs/model_zoo.md lists them):

source .venv/bin/activate
python tools/check_videos.py /my/videos
python tools/train.py \\
    configs/amd/pretrain/amd_vit-small-p16_vit-base_32xb16v4-16x4x1-200e_folder.py \\
    --cfg-options train_dataloader.dataset.data_root=/my/videos \\
    model.teacher.checkpoint=videomae-base.safetensors
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='quickstart.sh',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--videos', type=Path, help='a folder of your own videos to pre-train on as well'
    )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0],
        help='train the students with each of these seeds (default: 0)',
    )
    parser.add_argument(
        '--train-teacher',
        action='store_true',
        help='train the teacher too instead of using the shipped one (takes half an hour more)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'work_dirs' / 'quickstart',
        help='output folder (default: work_dirs/quickstart)',
    )
    parser.add_argument(
        '--force', action='store_true', help='start again: delete what was made before in --out'
    )
    args = parser.parse_args(arguments)
    if args.videos and not args.videos.is_dir():
        parser.error(f'--videos {args.videos} is not a folder')
    args.out = args.out.resolve()
    return args


def make_videos(folder: Path, options: Sequence[str] = ()) -> Step:
    """The step that makes videos."""
    command = [str(TOOLS / 'quickstart' / 'motion_videos.py'), str(folder), *options]
    return Step(folder.name, command, folder / 'heldout.txt', seconds=10)


def train(
    run: Path,
    config: str,
    videos: Path,
    checkpoint: str,
    seconds: float,
    seed: int = 0,
    options: Sequence[str] = (),
) -> Step:
    """The step that trains a config in the folder ``run``; resumes if it was interrupted."""
    command = [str(TOOLS / 'train.py'), str(CONFIGS / config), '--work-dir', str(run), '--resume']
    command += ['--seed', str(seed), '--cfg-options']
    command += [f'train_dataloader.dataset.data_root={videos / "unlabelled"}', *options]
    name = f'{run.name} {seed}' if seed else run.name
    return Step(name, command, run / checkpoint, seconds)


def train_teacher(out: Path) -> list[Step]:
    """The steps that make the teacher's file in OUT/teacher."""
    videos, run = out / 'teacher-videos', out / 'teacher'
    training = train(run, 'quickstart_videomae_teacher.py', videos, TEACHER_CHECKPOINT, 1200)
    export = [str(TOOLS / 'quickstart' / 'export_teacher.py')]
    file = run / TEACHER.name
    return [
        make_videos(videos, TEACHER_VIDEOS),
        training,
        Step('teacher file', [*export, str(training.output), str(file)], file, seconds=5),
    ]


def train_students(out: Path, seed: int, teacher: Path) -> list[list[Step]]:
    """A chain of one step each for AMD's and VideoMAE's student."""
    runs, videos = out / f'seed{seed}', out / 'videos'
    amd = train(
        runs / 'student-amd',
        'quickstart_amd_student.py',
        videos,
        STUDENT_CHECKPOINT,
        seconds=110,
        seed=seed,
        options=[f'model.teacher.checkpoint={teacher}'],
    )
    videomae = train(
        runs / 'student-videomae',
        'quickstart_videomae_student.py',
        videos,
        STUDENT_CHECKPOINT,
        seconds=60,
        seed=seed,
    )
    return [[amd], [videomae]]


def report(out: Path, seeds: Sequence[int], teacher: Path) -> Step:
    """The step that probes and draws. It waits for AMD's student."""
    command = [str(TOOLS / 'quickstart' / 'report.py'), str(out), '--teacher', str(teacher)]
    command += ['--wait-for', STUDENT_CHECKPOINT, '--seeds', *map(str, seeds)]
    return Step('report', command, out / 'report' / 'results.md', seconds=30 + 10 * len(seeds))


def plan(args: argparse.Namespace) -> list[list[Chain]]:
    """All steps, as :meth:`Runner.run` takes them."""
    out, teacher = args.out, TEACHER
    own = [] if args.videos is None else ['--videos', str(args.videos.resolve())]
    phases: list[list[Chain]] = [[[make_videos(out / 'videos', own)]]]
    if args.train_teacher:
        phases.append([train_teacher(out)])
        teacher = phases[-1][0][-1].output
    students = [chain for seed in args.seeds for chain in train_students(out, seed, teacher)]
    students[-1].append(report(out, args.seeds, teacher))
    return [*phases, students]


def run(args: argparse.Namespace) -> Path:
    """Run everything that is not finished; returns the report's folder."""
    if args.force:
        runs = [f'seed{seed}' for seed in args.seeds]
        for name in ('videos', 'teacher-videos', 'teacher', *runs):
            shutil.rmtree(args.out / name, ignore_errors=True)
    shutil.rmtree(args.out / 'report', ignore_errors=True)  # always made anew
    Runner().run(*plan(args))
    return args.out / 'report'


def main() -> None:
    """Install what is missing, run all steps and show the table."""
    args = parse_args()
    ensure_installed()
    # Ended from outside, end the steps as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        folder = run(args)
    except StepError as error:
        sys.exit(f'\nquickstart.sh: {error}')
    except KeyboardInterrupt:
        sys.exit('\nquickstart.sh: interrupted; the same command continues')
    print(f'\n{(folder / "results.md").read_text()}')
    for name in ('report.html', *(path.name for path in sorted(folder.glob('*.png')))):
        print(folder / name)
    print(NEXT)
    print(f'Took {time.monotonic() - started:.0f} s.')


if __name__ == '__main__':
    main()
