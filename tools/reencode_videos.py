"""Re-encode videos for fast training: short side 320, many keyframes.

    python tools/reencode_videos.py SRC DST

Small frames are decoded faster than large ones, and with a keyframe every 16 frames a clip from the
middle of a video is reached without decoding what lies before it. Frames are never enlarged; sides
are even numbers; the sound is dropped. With --fast-decode x264 omits arithmetic coding and
deblocking: decoding takes a third less time, and files are a seventh larger.

DST gets the folders of SRC with the ending .mp4. A run can be interrupted and repeated: finished
files are kept, and none is half-written. ffmpeg is taken from the PATH, or from the Python package
imageio-ffmpeg (`pip install imageio-ffmpeg`).

Exit code: 0 all videos are there, 1 some failed (they are listed with the reason), 2 the call is
wrong.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import _venv  # noqa: F401, first: finds the packages
from amd_mm.datasets import UnreadableVideoError, find_videos, open_video
from amd_mm.datasets.video_reader import printable
from mmengine.utils import ProgressBar


class Outcome(NamedTuple):
    """Whether the new file is there; why not, or ffmpeg's complaint about a damaged video."""

    finished: bool
    remark: str


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('src', help='folder of videos')
    add('dst', help='folder to write to')
    add('--short-side', type=int, default=320, help='maximum pixels of the shorter side')
    add(
        '--keyframe-interval',
        '--gop',
        type=int,
        default=16,
        help='frames from one keyframe to the next',
    )
    add('--crf', type=int, default=23, help='x264 quality, 0 (lossless) to 51 (worst)')
    add('--preset', default='fast', help="x264's speed")
    add('--fast-decode', action='store_true', help='larger files that decode faster')
    add('--timeout', type=float, default=3600.0, help='seconds per video')
    add(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        help='videos encoded at once (default: one per core)',
    )
    return parser.parse_args(argv)


def check_args(args: argparse.Namespace) -> None:
    """Raise a ValueError for values that are out of range."""
    if args.short_side < 2 or args.keyframe_interval < 1 or args.workers < 1:
        raise ValueError(
            '--short-side must be 2 or more, --keyframe-interval and --workers 1 or more'
        )
    if not 0 <= args.crf <= 51:
        raise ValueError(f'--crf is from 0 to 51, got {args.crf}')
    src, dst = Path(args.src).resolve(), Path(args.dst).resolve()
    if src == dst or src in dst.parents:
        raise ValueError(f'DST ({dst}) must not be SRC ({src}) or lie in it')


def find_ffmpeg() -> str:
    """Path of the ffmpeg to use; a FileNotFoundError says what to install."""
    found = shutil.which('ffmpeg')
    if found:
        return found
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise FileNotFoundError(
            'no ffmpeg found: `apt install ffmpeg` or `pip install imageio-ffmpeg`'
        ) from None


def targets(names: list[str]) -> dict[str, str]:
    """Names in DST by names in SRC.

    ``x.avi`` becomes ``x.mp4``. Where two videos would get the same name, all but one that is an
    mp4 keep their old ending too (``x.avi.mp4``, or ``x.avi.mp4.mp4`` if that is taken).
    """
    wanted = Counter(str(Path(name).with_suffix('.mp4')) for name in names)
    taken = set(wanted)
    result = {}
    for name in names:
        target = str(Path(name).with_suffix('.mp4'))
        if wanted[target] > 1 and name != target:
            target = name + '.mp4'
            while target in taken:
                target += '.mp4'
            taken.add(target)
        result[name] = target
    return result


def encode(ffmpeg: str, source: Path, target: Path, args: argparse.Namespace) -> Outcome:
    """Encode one video; the target appears when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + '.part')
    side = f'trunc(min({args.short_side},min(iw,ih))/2)*2'
    command = [
        ffmpeg, '-nostdin', '-v', 'error', '-y', '-threads', '1', '-i', str(source),
        '-map', '0:V:0',  # V: without cover pictures
        '-vf', f"scale=w='if(gt(iw,ih),-2,{side})':h='if(gt(iw,ih),{side},-2)'",
        '-c:v', 'libx264', '-preset', args.preset, '-crf', str(args.crf), '-pix_fmt', 'yuv420p',
        '-g', str(args.keyframe_interval), '-threads', '1',
        *(['-tune', 'fastdecode'] if args.fast_decode else []),
        '-movflags', '+faststart', '-f', 'mp4', str(part),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, timeout=args.timeout)
        message = done.stderr.decode(errors='replace').strip().split('\n')[0]
        message = re.sub(r'\[[^]]* @ 0x[0-9a-f]+\] ', '', message)[:200]
        if done.returncode != 0:
            return Outcome(False, message or f'ffmpeg ended with {done.returncode}')
        # ffmpeg also succeeds if it could not decode anything.
        open_video(str(part)).close()
        os.replace(part, target)
        return Outcome(True, message)
    except subprocess.TimeoutExpired:
        return Outcome(False, f'it took longer than {args.timeout:g} s')
    except UnreadableVideoError as error:
        return Outcome(False, f'the result is unreadable: {error.reason}')
    except OSError as error:
        return Outcome(False, str(error))
    finally:
        part.unlink(missing_ok=True)


def encode_all(ffmpeg: str, names: dict[str, str], args: argparse.Namespace) -> dict[str, Outcome]:
    """Encode the videos ``names`` (DST by SRC) at once; outcomes by name in SRC."""
    outcomes: dict[str, Outcome] = {}
    bar = ProgressBar(len(names), file=sys.stderr)
    with ThreadPoolExecutor(args.workers) as pool:
        jobs = {
            pool.submit(encode, ffmpeg, Path(args.src) / name, Path(args.dst) / target, args): name
            for name, target in names.items()
        }
        try:
            for job in as_completed(jobs):
                outcomes[jobs[job]] = job.result()
                bar.update()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
    print(file=sys.stderr)
    return outcomes


def main(argv: list[str] | None = None) -> int:
    """Encode the videos that are not in DST, and return the exit code."""
    args = parse_args(argv)
    try:
        check_args(args)
        ffmpeg = find_ffmpeg()
        names = targets(find_videos(args.src))
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    todo = {n: t for n, t in names.items() if not (Path(args.dst) / t).exists()}
    print(f'{len(names)} videos in {args.src}, {len(names) - len(todo)} already in {args.dst}')
    outcomes = encode_all(ffmpeg, todo, args)
    for name, outcome in sorted(outcomes.items()):
        if outcome.remark:
            result = 'kept, but damaged' if outcome.finished else 'failed'
            print(printable(f'{result}: {name}: {outcome.remark}'))
    failed = sum(not outcome.finished for outcome in outcomes.values())
    print(f'{len(names) - failed} of {len(names)} videos are in {args.dst}, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit('interrupted; run it again to continue')
