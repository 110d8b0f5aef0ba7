"""Compare methods of distillation on the quickstart's videos, with equal steps.

    python tools/benchmarks/methods.py --seeds 0 1 2

Trains the quickstart's student by VideoMAE, AMD, SALT and MVD, and the image teacher of MVD by MAE
on single frames, and prints what the frozen features know about the motions. Interrupted, the same
command continues. Three seeds take about 25 minutes on two cores.
"""

import argparse
import logging
import sys
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
import cv2
from amd_mm.datasets.files import find_files
from amd_mm.datasets.video_reader import VIDEO_EXTENSIONS, open_video

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'quickstart'))
import quickstart  # noqa: E402
import report  # noqa: E402
from steps import Runner, StepError  # noqa: E402

METHODS = dict(videomae='VideoMAE alone', amd='AMD', salt='SALT-like', mvd='MVD-like, two teachers')
SECONDS = dict(videomae=60, amd=110, salt=100, mvd=110)  # of a run, to estimate the time left
FRAMES = (2, 7, 12, 17)  # of each video, for the image teacher
IMAGE_TEACHER = 'epoch_15.pth'


def write_frames(videos: Path, folder: Path) -> None:
    """Write some frames of each video as images, a little larger than the image teacher's input."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in find_files(str(videos), VIDEO_EXTENSIONS):
        with open_video(str(videos / name)) as reader:
            for number, frame in zip(FRAMES, reader.read(FRAMES)):
                small = cv2.resize(frame[..., ::-1], (40, 40), interpolation=cv2.INTER_AREA)
                cv2.imwrite(str(folder / f'{Path(name).stem}-{number}.png'), small)


def train_all(out: Path, seeds: list[int]) -> None:
    """Make the data and train every model that is not trained yet."""
    videos, frames = out / 'videos', out / 'frames'
    Runner().run([[quickstart.make_videos(videos)]])
    if not frames.exists():
        write_frames(videos / 'unlabelled', frames / 'unlabelled')
    teacher = quickstart.train(
        out / 'mae-frames', 'quickstart_mae_frames.py', frames, IMAGE_TEACHER, seconds=120
    )
    students = {
        (method, seed): quickstart.train(
            out / f'seed{seed}' / f'student-{method}',
            f'quickstart_{method}_student.py',
            videos,
            quickstart.STUDENT_CHECKPOINT,
            SECONDS[method],
            seed,
            [f'model.teacher.image.checkpoint={teacher.output}'] if method == 'mvd' else (),
        )
        for method in METHODS
        for seed in seeds
    }
    first = [teacher, *(students['mvd', seed] for seed in seeds)]
    others = [step for (method, _), step in students.items() if method != 'mvd']
    Runner().run([first, others])


def probe(out: Path, seeds: list[int]) -> str:
    """The accuracies of all models as a Markdown table."""
    logging.disable(logging.INFO)  # how each model was initialised and loaded
    clips = [report.read_clips(out / 'videos', part) for part in ('train', 'heldout')]
    students = {f'student-{name}': caption for name, caption in METHODS.items()}
    captions = {report.RANDOM: 'random weights', **students, report.TEACHER: 'teacher of videos'}
    rows = ['| student | linear probe | nearest neighbours |', '|---|---|---|']
    for name, caption in captions.items():
        models = (report.load(name, out, seed, quickstart.TEACHER) for seed in seeds)
        found = [report.probe(model, *clips) for model in models]
        values = [report.mean_and_deviation([one[kind] for one in found]) for kind in report.PROBES]
        rows.append(f'| {caption} | {" | ".join(values)} |')
    return '\n'.join(rows)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, train and probe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='of the students (0)')
    parser.add_argument('--out', type=Path, default=ROOT / 'work_dirs' / 'methods')
    args = parser.parse_args(arguments)
    out = args.out.resolve()
    try:
        train_all(out, args.seeds)
    except StepError as error:
        sys.exit(f'methods.py: {error}')
    print(probe(out, args.seeds))


if __name__ == '__main__':
    main()
