"""Show on small videos, on two CPU cores, that distillation works.

Makes videos whose classes differ only in motion, pre-trains a tiny teacher on them (VideoMAE),
distils a smaller student from it (AMD), and reports loss curves, reconstructions and how well
frozen features separate the classes, compared with the same student pre-trained by VideoMAE alone
and with random weights. Takes about six minutes after the installation, which it runs if needed.
Interrupted, the same command continues; finished steps are skipped.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from steps import Runner, Step, StepError

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
CONFIGS = ROOT / 'configs' / 'quickstart'
# The last checkpoints of the configs' runs.
TEACHER_CHECKPOINT = 'iter_1000.pth'
STUDENT_CHECKPOINT = 'iter_600.pth'
FINETUNED_CHECKPOINT = 'epoch_30.pth'


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
        '--fine-tune',
        action='store_true',
        help='also fine-tune the students with few labels and test them (takes minutes more)',
    )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0],
        help='repeat everything with these seeds (default: 0)',
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


def make_videos(out: Path, own: Path | None = None) -> Step:
    """The step that makes the videos."""
    command = [str(TOOLS / 'quickstart' / 'motion_videos.py'), str(out / 'videos')]
    if own is not None:
        command += ['--videos', str(own.resolve())]
    return Step('videos', command, out / 'videos' / 'heldout.txt')


def train(run: Path, config: str, seed: int, checkpoint: str, options: Sequence[str]) -> Step:
    """The step that trains a config in the folder ``run``; resumes if it was interrupted."""
    command = [str(TOOLS / 'train.py'), str(CONFIGS / config), '--work-dir', str(run), '--resume']
    command += ['--seed', str(seed), '--cfg-options', *options]
    return Step(f'{run.name} ({run.parent.name})', command, run / checkpoint)


def pretrain(out: Path, seed: int) -> tuple[Step, Step, Step]:
    """The steps that train teacher, AMD's student and VideoMAE's student of a seed."""
    runs = out / f'seed{seed}'
    data = f'train_dataloader.dataset.data_root={out / "videos" / "unlabelled"}'
    teacher = train(
        runs / 'teacher', 'quickstart_videomae_teacher.py', seed, TEACHER_CHECKPOINT, [data]
    )
    amd = train(
        runs / 'student-amd',
        'quickstart_amd_student.py',
        seed,
        STUDENT_CHECKPOINT,
        [data, f'model.teacher.checkpoint={teacher.output}'],
    )
    videomae = train(
        runs / 'student-videomae',
        'quickstart_videomae_student.py',
        seed,
        STUDENT_CHECKPOINT,
        [data],
    )
    return teacher, amd, videomae


def finetune(out: Path, seed: int, start: str, pretrained: Path | None) -> list[Step]:
    """The steps that fine-tune a student with few labels and test it.

    Args:
        out: The quickstart's folder.
        seed: Also decides which videos have a label.
        start: ``scratch``, ``videomae`` or ``amd``.
        pretrained: The student's checkpoint.
    """
    options = [
        f'train_dataloader.dataset.data_root={out / "videos"}',
        f'train_dataloader.dataset.subset_seed={seed}',
    ]
    if pretrained is not None:
        options.append(f'model.backbone.pretrained={pretrained}')
    tuning = train(
        out / f'seed{seed}' / f'finetune-{start}',
        'quickstart_finetune.py',
        seed,
        FINETUNED_CHECKPOINT,
        options,
    )
    folder = out / f'seed{seed}' / f'test-{start}'
    command = [
        str(TOOLS / 'test.py'),
        str(CONFIGS / 'quickstart_finetune.py'),
        str(tuning.output),
        '--work-dir',
        str(folder),
        '--dump',
        str(folder / 'predictions.pkl'),
        '--cfg-options',
        f'test_dataloader.dataset.data_root={out / "videos"}',
    ]
    return [tuning, Step(f'test-{start} (seed{seed})', command, folder / 'predictions.pkl')]


def chains_of(out: Path, seeds: Sequence[int], fine_tune: bool) -> list[list[Step]]:
    """All trainings, as chains whose steps need the one before."""
    chains = []
    for seed in seeds:
        teacher, amd, videomae = pretrain(out, seed)
        longest, other = [teacher, amd], [videomae]
        if fine_tune:
            longest += finetune(out, seed, 'amd', amd.output)
            other += finetune(out, seed, 'videomae', videomae.output)
            other += finetune(out, seed, 'scratch', None)
        chains += [longest, other]
    return chains


def make_report(out: Path, seeds: Sequence[int], fine_tune: bool) -> Step:
    """The step that draws and probes."""
    command = [str(TOOLS / 'quickstart' / 'report.py'), str(out), '--seeds', *map(str, seeds)]
    if fine_tune:
        command.append('--fine-tuned')
    return Step('report', command, out / 'report' / 'results.md')


def run(args: argparse.Namespace, python: str) -> Path:
    """Run everything that is not finished; returns the table."""
    out = args.out
    if args.force:
        for name in ('videos', *(f'seed{seed}' for seed in args.seeds)):
            shutil.rmtree(out / name, ignore_errors=True)
    shutil.rmtree(out / 'report', ignore_errors=True)  # always made anew
    runner = Runner(python)
    runner.run([make_videos(out, args.videos)])
    runner.run(*chains_of(out, args.seeds, args.fine_tune))
    report = make_report(out, args.seeds, args.fine_tune)
    runner.run([report])
    return report.output


def main() -> None:
    """Install what is missing, run all steps and show the table."""
    args = parse_args()
    # Ended from outside, end the steps as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if subprocess.call(['bash', str(TOOLS / 'install.sh'), '--quickstart', '--again']):
        sys.exit(1)
    venv = os.environ.get('VIRTUAL_ENV') or ROOT / '.venv'
    started = time.monotonic()
    try:
        table = run(args, str(Path(venv, 'bin', 'python')))
    except StepError as error:
        sys.exit(f'\nquickstart.sh: {error}')
    except KeyboardInterrupt:
        sys.exit('\nquickstart.sh: interrupted; the same command continues')
    print(f'\n{table.read_text()}\nPictures and numbers: {table.parent}')
    print(f'Took {time.monotonic() - started:.0f} s.')


if __name__ == '__main__':
    main()
