r"""Check the files of an AVA-style dataset, and that they match.

    python tools/data/ava/validate.py ava_val_v2.2.csv --videos videos_15min \
        --labels actions.pbtxt --proposals proposals.pkl \
        --exclude ava_val_excluded_timestamps_v2.2.csv

Reads every line of the annotations and of the other files, compares the files with each other and
with the videos (or --frames), and names what is wrong, the first few of each kind (--show). Videos
without a file, frames without proposals and labels that the label map does not have are warnings:
one can train with them.

Exit code: 0 nothing is wrong (there may be warnings; not with --strict), 1 something is, 2 the call
is wrong.
"""

import argparse
import sys

import _venv  # noqa: F401, first: finds the packages
from amd_mm.datasets import BACKENDS, CheckedAVADataset, CheckedAVAKineticsDataset
from amd_mm.datasets.ava_files import (
    AVAAnnotations,
    frame_key,
    read_exclusions,
    read_label_map,
    read_proposals,
    scan_annotations,
    some_of,
)
from amd_mm.errors import VideoError
from mmengine.logging import MMLogger


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('annotations', help='ava_{train,val}_v2.2.csv')
    add('--labels', help='label map (.pbtxt)')
    add('--exclude', help='csv of excluded frames')
    add('--proposals', help='pickle of boxes')
    media = parser.add_mutually_exclusive_group()
    media.add_argument('--videos', help='folder of videos')
    media.add_argument('--frames', help='folder of folders of frames')
    add(
        '--timestamps',
        nargs=2,
        type=int,
        default=[902, 1798],
        metavar=('FIRST', 'LAST'),
        help='that may be annotated (default: 902 1798, as in AVA)',
    )
    add(
        '--shown',
        nargs=2,
        type=int,
        metavar=('START', 'END'),
        help="timestamps at which a video begins and ends (default: AVA's 900 and 1800 if the "
        'annotations are in between, else 0 and the last one)',
    )
    add(
        '--kinetics',
        action='store_true',
        help='AVA-Kinetics: the times of {video}_{start}_{end} are in its name',
    )
    add('--num-classes', type=int, default=81, help='labels are below this (default: 81)')
    add(
        '--confidence',
        type=float,
        default=0.8,
        help='frames without a box of this confidence are named (default: 0.8)',
    )
    add('--fps', type=int, default=30, help='frames per second of --frames (default: 30)')
    add('--backend', choices=list(BACKENDS), default='pyav')
    add('--all', action='store_true', help='look into all videos or folders, not into a few')
    add('--show', type=int, default=5, help='lines of each kind (default: 5)')
    add('--strict', action='store_true', help='warnings are errors')
    return parser.parse_args(argv)


class Validator:
    """Runs all checks and counts errors and warnings."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.errors = 0
        self.warnings = 0

    def error(self, text: str) -> None:
        """Print and count an error."""
        self.errors += 1
        print(f'ERROR    {text}')

    def warn(self, text: str) -> None:
        """Print and count a warning."""
        self.warnings += 1
        print(f'WARNING  {text}')

    def run(self) -> None:
        """Check each file, then all of them together."""
        args = self.args
        annotations = scan_annotations(args.annotations, args.num_classes)
        correct = self.check_annotations(annotations)
        for check, path in (
            (self.check_labels, args.labels),
            (self.check_exclusions, args.exclude),
            (self.check_proposals, args.proposals),
        ):
            if path is not None:
                try:
                    check(path, annotations)
                except VideoError as error:
                    self.error(str(error))
                    correct = False
        if correct:
            self.compare()
        else:
            print('         The files were not compared with each other: correct them first.')

    def check_annotations(self, found: AVAAnnotations) -> bool:
        """Check lines and timestamps; whether the annotations can be used."""
        show = self.args.show
        print(
            f'{found.path}: {found.lines + len(found.problems)} lines, '
            f'{len(found.timestamps)} videos, {len(found.frames())} frames, '
            f'{len(found.labels)} actions'
        )
        if found.problems:
            shown = '\n  '.join(found.problems[:show])
            self.error(f'{len(found.problems)} lines are wrong:\n  {shown}')
        elif not found.lines:
            self.error('it is empty')
        first, last = self.args.timestamps
        outside = {
            frame_key(video, time)
            for video, times in found.timestamps.items()
            if not (self.args.kinetics and len(video) != 11)
            for time in times
            if not first <= time <= last
        }
        if outside:
            self.error(
                f'{len(outside)} frames are not at {first} to {last} s (--timestamps): '
                f'{some_of(outside, show)}'
            )
        return bool(found.lines) and not found.problems

    def check_labels(self, path: str, found: AVAAnnotations) -> None:
        """Check the label map."""
        names = read_label_map(path)
        print(
            f'{path}: {len(names)} actions, {min(names)} to {max(names)}; '
            f'{len(set(names) & set(found.labels))} of them are annotated'
        )

    def check_exclusions(self, path: str, found: AVAAnnotations) -> None:
        """Check the excluded frames."""
        excluded = read_exclusions(path)
        annotated = excluded & found.frames()
        print(f'{path}: {len(excluded)} frames, {len(annotated)} of them annotated')
        videos = {key.rpartition(',')[0] for key in excluded}
        if excluded and not videos & set(found.timestamps):
            self.warn(f'{path} is of other videos: {some_of(videos, self.args.show)}')

    def check_proposals(self, path: str, found: AVAAnnotations) -> None:
        """Check the boxes."""
        proposals = read_proposals(path)
        print(f'{path}: {sum(map(len, proposals.values()))} boxes in {len(proposals)} frames')

    def compare(self) -> None:
        """Run the checks that the datasets run when training starts."""
        args, warn = self.args, self.warn
        base = CheckedAVAKineticsDataset if args.kinetics else CheckedAVADataset

        class Dataset(base):
            """Reports to the validator."""

            if args.all:
                folders_to_try = videos_to_open = sys.maxsize

            def _warn(self, text: str) -> None:
                warn(text)

            def _check_media(self, kept: list[dict]) -> None:
                if not (args.videos or args.frames):
                    return
                super()._check_media(kept)
                count = len({info['video_id'] for info in kept})
                tried = min(self.videos_to_open if args.videos else self.folders_to_try, count)
                print(
                    f'{args.videos or args.frames}: looked for {count} videos, and into {tried} '
                    f'of them{" (--all: into all)" if tried < count else ""}'
                )

        pipeline = [dict(type='amd_mm.VideoInit', backend=args.backend)] if args.videos else []
        try:
            Dataset(
                args.annotations,
                pipeline,
                data_prefix=dict(video=args.videos) if args.videos else dict(img=args.frames or ''),
                exclude_file=args.exclude,
                label_file=args.labels,
                proposal_file=args.proposals,
                person_det_score_thr=args.confidence,
                num_classes=args.num_classes,
                timestamp_start=args.shown and args.shown[0],
                timestamp_end=args.shown and args.shown[1],
                fps=args.fps,
            )
        except VideoError as error:
            self.error(str(error))


def main(argv: list[str] | None = None) -> int:
    """Validate and return the exit code."""
    args = parse_args(argv)
    validator = Validator(args)
    logger = MMLogger.get_current_instance()  # the validator prints what the datasets log
    level = logger.level
    logger.setLevel('ERROR')
    try:
        validator.run()
    except (OSError, ImportError, UnicodeDecodeError) as error:
        print(f'validate.py: {error}', file=sys.stderr)
        return 2
    finally:
        logger.setLevel(level)
    print(f'{validator.errors} errors, {validator.warnings} warnings')
    failed = validator.errors or (args.strict and validator.warnings)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
