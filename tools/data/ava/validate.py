r"""Are the files of an AVA-style data set right, and do they meet?

    python tools/data/ava/validate.py ava_val_v2.2.csv --videos videos_15min \\
        --labels actions.pbtxt --proposals proposals.pkl \\
        --exclude ava_val_excluded_timestamps_v2.2.csv

Reads every line of the annotations and of whatever else is given, compares
the files with each other and with the videos (or --frames), and names what is
wrong: the first few of each kind (--show). Videos without a file, frames
without proposals and labels that the label map does not have are warnings:
one can train with them.

Exit code: 0 nothing is wrong (there may be warnings; not with --strict),
1 something is, 2 the call is wrong.
"""

import argparse
import sys

from amd_mm.datasets import CheckedAVADataset, CheckedAVAKineticsDataset
from amd_mm.datasets.ava_files import (
    AVAAnnotations,
    AVADataError,
    frame_key,
    read_exclusions,
    read_label_map,
    read_proposals,
    scan_annotations,
    some_of,
)
from amd_mm.datasets.video_reader import BACKENDS
from mmengine.logging import MMLogger


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('annotations', help='ava_{train,val}_v2.2.csv')
    parser.add_argument('--labels', help='label map (.pbtxt)')
    parser.add_argument('--exclude', help='csv of excluded frames')
    parser.add_argument('--proposals', help='pickle of boxes')
    media = parser.add_mutually_exclusive_group()
    media.add_argument('--videos', help='folder of videos')
    media.add_argument('--frames', help='folder of folders of frames')
    parser.add_argument(
        '--timestamps',
        nargs=2,
        type=int,
        default=[902, 1798],
        metavar=('FIRST', 'LAST'),
        help='that may be annotated (902 1798, as in AVA)',
    )
    parser.add_argument(
        '--shown',
        nargs=2,
        type=int,
        default=[900, 1800],
        metavar=('START', 'END'),
        help='what timestamps a video begins and ends at (900 1800)',
    )
    parser.add_argument(
        '--kinetics',
        action='store_true',
        help='AVA-Kinetics: the times of {video}_{start}_{end} are in its name',
    )
    parser.add_argument('--num-classes', type=int, default=81, help='labels are below this (81)')
    parser.add_argument(
        '--confidence', type=float, default=0.8, help='frames without a box of this are named (0.8)'
    )
    parser.add_argument('--fps', type=int, default=30, help='frames of a second in --frames (30)')
    parser.add_argument('--backend', choices=list(BACKENDS), default='decord')
    parser.add_argument(
        '--all', action='store_true', help='look into all videos or folders, not into a few'
    )
    parser.add_argument('--show', type=int, default=5, help='lines of each kind (5)')
    parser.add_argument('--strict', action='store_true', help='warnings are errors')
    return parser.parse_args(argv)


class Validator:
    """Goes on after an error, and counts.

    Args:
        args (argparse.Namespace): The command line.

    Attributes:
        errors (int): Kinds of errors that were found.
        warnings (int): Kinds of warnings.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.errors = 0
        self.warnings = 0

    def error(self, text: str) -> None:
        """Print and count."""
        self.errors += 1
        print(f'ERROR    {text}')

    def warn(self, text: str) -> None:
        """Print and count."""
        self.warnings += 1
        print(f'WARNING  {text}')

    def run(self) -> None:
        """All checks.

        Raises:
            OSError: If a file is not there.
        """
        args = self.args
        annotations = scan_annotations(args.annotations, args.num_classes)
        right = self.annotations(annotations)
        for check, path in (
            (self.labels, args.labels),
            (self.exclusions, args.exclude),
            (self.proposals, args.proposals),
        ):
            if path is None:
                continue
            try:
                check(path, annotations)
            except AVADataError as error:
                self.error(str(error))
                right = False
        if right:
            self.together()
        else:
            print('         The files were not compared with each other: correct them first.')

    def annotations(self, found: AVAAnnotations) -> bool:
        """Lines and timestamps; whether they can be used."""
        show = self.args.show
        print(
            f'{found.path}: {found.lines + len(found.problems)} lines, '
            f'{len(found.timestamps)} videos, {len(found.frames())} frames, '
            f'{len(found.labels)} actions'
        )
        if found.problems:
            self.error(
                f'{len(found.problems)} lines are wrong:\n  '
                + '\n  '.join(map(str, found.problems[:show]))
            )
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
                f'{len(outside)} frames are not at {first} to {last} s '
                f'(--timestamps): {some_of(outside, show)}'
            )
        return bool(found.lines) and not found.problems

    def labels(self, path: str, found: AVAAnnotations) -> None:
        """The label map."""
        names = read_label_map(path)
        print(
            f'{path}: {len(names)} actions, {min(names)} to {max(names)}; '
            f'{len(set(names) & set(found.labels))} of them are annotated'
        )

    def exclusions(self, path: str, found: AVAAnnotations) -> None:
        """The excluded frames."""
        excluded = read_exclusions(path)
        hit = excluded & found.frames()
        print(f'{path}: {len(excluded)} frames, {len(hit)} of them annotated')
        videos = {key.rpartition(',')[0] for key in excluded}
        if excluded and not videos & set(found.timestamps):
            self.warn(f'{path} is of other videos: {some_of(videos, self.args.show)}')

    def proposals(self, path: str, found: AVAAnnotations) -> None:
        """The boxes of people."""
        proposals = read_proposals(path)
        print(f'{path}: {sum(map(len, proposals.values()))} boxes in {len(proposals)} frames')

    def together(self) -> None:
        """What the data sets check when training starts, of everything."""
        validator, args = self, self.args
        base = CheckedAVAKineticsDataset if args.kinetics else (CheckedAVADataset)

        class Dataset(base):
            """Reports to the validator."""

            if args.all:
                folders_to_try = videos_to_open = sys.maxsize

            def _warn(self, text: str) -> None:
                validator.warn(text)

            def _check_media(self, kept: list[dict]) -> None:
                if args.videos or args.frames:
                    super()._check_media(kept)
                    count = len({info['video_id'] for info in kept})
                    tried = self.videos_to_open if args.videos else self.folders_to_try
                    print(
                        f'{args.videos or args.frames}: looked for {count} '
                        f'videos, and into {min(tried, count)} of them'
                        + (' (--all: into all)' if tried < count else '')
                    )

        prefix = dict(video=args.videos) if args.videos else dict(img=args.frames or '')
        pipeline = [dict(type='amd_mm.VideoInit', backend=args.backend)]
        start, end = args.shown
        try:
            Dataset(
                args.annotations,
                pipeline if args.videos else [],
                data_prefix=prefix,
                exclude_file=args.exclude,
                label_file=args.labels,
                proposal_file=args.proposals,
                person_det_score_thr=args.confidence,
                num_classes=args.num_classes,
                timestamp_start=start,
                timestamp_end=end,
                fps=args.fps,
            )
        except AVADataError as error:
            self.error(str(error))


def main(argv: list[str] | None = None) -> int:
    """Validate and give the exit code."""
    args = parse_args(argv)
    validator = Validator(args)
    # What the data sets log is said here in another way.
    logger = MMLogger.get_current_instance()
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
