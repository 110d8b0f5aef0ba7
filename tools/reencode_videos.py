"""Re-encode videos for fast training: short side 320, many keyframes.

    python tools/reencode_videos.py SRC DST

Decoding is what a loader waits for. Smaller pictures are decoded faster than
large ones, and with a keyframe every 16 frames a clip from the middle of a
video is reached without decoding what lies before it. The pictures are never
enlarged; sides are even numbers; the sound is dropped. With --fast-decode
x264 leaves out what is slow to undo (arithmetic coding, deblocking): decoding
took a third less time, and the files were a seventh larger.

DST gets the tree of SRC with the ending .mp4. A run can be interrupted and
repeated: finished files are left alone, and none is half-written. The exit
code is 0 when all videos are there, 1 when some failed (they are listed with
the reason), 2 when the call is wrong.

ffmpeg is taken from the PATH, or from the Python package imageio-ffmpeg
(`pip install imageio-ffmpeg`).
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

from amd_mm.datasets import UnreadableVideoError, available_backends, find_videos, open_video
from mmengine.utils import ProgressBar


class Settings(NamedTuple):
    """How to encode.

    Attributes:
        short_side (int): Pixels of the shorter side, at most.
        keyframe_interval (int): Frames from one keyframe to the next.
        crf (int): x264's quality, from 0 (lossless) to 51 (worst).
        preset (str): x264's speed.
        timeout (float): Seconds that one video may take.
        fast_decode (bool): Whether to trade size for decoding speed.
    """

    short_side: int = 320
    keyframe_interval: int = 16
    crf: int = 23
    preset: str = 'fast'
    timeout: float = 3600.0
    fast_decode: bool = False


class Outcome(NamedTuple):
    """What came of one video.

    Attributes:
        finished (bool): Whether the new file is there.
        remark (str): Why not; or ffmpeg's complaint about a damaged video,
            of which it kept what it could decode; or empty.
    """

    finished: bool
    remark: str


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    default = Settings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('src', help='folder of videos')
    parser.add_argument('dst', help='folder to write to')
    parser.add_argument('--short-side', type=int, default=default.short_side)
    parser.add_argument(
        '--keyframe-interval',
        '--gop',
        type=int,
        default=default.keyframe_interval,
        help='frames from one keyframe to the next',
    )
    parser.add_argument('--crf', type=int, default=default.crf, help='x264 quality, 0 to 51')
    parser.add_argument('--preset', default=default.preset)
    parser.add_argument(
        '--fast-decode',
        action='store_true',
        help="x264's tune fastdecode: larger files that decode faster",
    )
    parser.add_argument(
        '--timeout', type=float, default=default.timeout, help='seconds that one video may take'
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        help='videos encoded at once (default: one per core)',
    )
    return parser.parse_args(argv)


def find_ffmpeg() -> str:
    """The ffmpeg to use.

    Returns:
        str: Its path.

    Raises:
        FileNotFoundError: There is none; the message says what to install.
    """
    found = shutil.which('ffmpeg')
    if found:
        return found
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise FileNotFoundError(
            'no ffmpeg found: install it with your system (`apt install '
            'ffmpeg`) or with `pip install imageio-ffmpeg`'
        ) from None


def targets(names: list[str]) -> dict[str, str]:
    """Names in DST by names in SRC.

    ``x.avi`` becomes ``x.mp4``; where two videos would get the same name,
    all but one that is an mp4 keep their old ending too (``x.avi.mp4``, or
    ``x.avi.mp4.mp4`` if that is another's).
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


def scale_filter(short_side: int) -> str:
    """Ffmpeg's filter: shorter side to at most so many pixels, both even."""
    side = f'trunc(min({short_side},min(iw,ih))/2)*2'
    return f"scale=w='if(gt(iw,ih),-2,{side})':h='if(gt(iw,ih),{side},-2)'"


def encode(ffmpeg: str, source: Path, target: Path, settings: Settings) -> Outcome:
    """Encode one video; the target appears only when it is complete.

    Args:
        ffmpeg (str): The program.
        source (Path): The video.
        target (Path): The file to make. Its folder is made.
        settings (Settings): How.

    Returns:
        Outcome: Whether the target is there, and what there is to say.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + '.part')
    command = [
        ffmpeg, '-nostdin', '-v', 'error', '-y', '-threads', '1', '-i',
        str(source), '-map', '0:v:0', '-vf',
        scale_filter(settings.short_side), '-c:v', 'libx264', '-preset',
        settings.preset, '-crf', str(settings.crf), '-pix_fmt', 'yuv420p',
        '-g', str(settings.keyframe_interval), '-threads', '1',
        *(['-tune', 'fastdecode'] if settings.fast_decode else []),
        '-movflags', '+faststart', '-f', 'mp4', str(part)
    ]  # yapf: disable
    try:
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=settings.timeout
        )
        said = done.stderr.decode(errors='replace').strip()
        if done.returncode != 0:
            return Outcome(False, _first_line(said) or f'ffmpeg ended with {done.returncode}')
        # ffmpeg calls it success when nothing could be decoded.
        open_video(str(part), available_backends()[0]).close()
        os.replace(part, target)
        return Outcome(True, _first_line(said))
    except subprocess.TimeoutExpired:
        return Outcome(False, f'it took longer than {settings.timeout:g} s')
    except UnreadableVideoError as error:
        return Outcome(False, f'the result is unreadable: {error.reason}')
    except OSError as error:
        return Outcome(False, str(error))
    finally:
        part.unlink(missing_ok=True)


def _first_line(text: str) -> str:
    """What ffmpeg says first, without the parts that say it."""
    first = text.splitlines()[0] if text else ''
    return re.sub(r'\[[^]]* @ 0x[0-9a-f]+\] ', '', first)[:200]


def encode_all(
    ffmpeg: str, src: Path, dst: Path, names: dict[str, str], settings: Settings, workers: int
) -> dict[str, Outcome]:
    """Encode many videos at once, with a progress bar.

    Args:
        ffmpeg (str): The program.
        src (Path): Where the videos are.
        dst (Path): Where they go.
        names (dict[str, str]): Names in ``dst`` by names in ``src``.
        settings (Settings): How.
        workers (int): Videos at once.

    Returns:
        dict[str, Outcome]: By names in ``src``.
    """
    outcomes: dict[str, Outcome] = {}
    bar = ProgressBar(len(names), file=sys.stderr)
    with ThreadPoolExecutor(workers) as pool:
        jobs = {
            pool.submit(encode, ffmpeg, src / name, dst / target, settings): name
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


def check_args(args: argparse.Namespace) -> None:
    """Raise ValueError for arguments that cannot be meant."""
    if args.short_side < 2 or args.keyframe_interval < 1 or args.workers < 1:
        raise ValueError(
            '--short-side must be 2 or more, --keyframe-interval and --workers 1 or more'
        )
    if not 0 <= args.crf <= 51:
        raise ValueError(f'--crf is from 0 to 51, got {args.crf}')
    src, dst = Path(args.src).resolve(), Path(args.dst).resolve()
    if src == dst or src in dst.parents:
        raise ValueError(f'DST ({dst}) must not be SRC ({src}) or lie in it')


def main(argv: list[str] | None = None) -> int:
    """Encode what is not there yet, and give the exit code."""
    args = parse_args(argv)
    settings = Settings(
        args.short_side,
        args.keyframe_interval,
        args.crf,
        args.preset,
        args.timeout,
        args.fast_decode,
    )
    src, dst = Path(args.src), Path(args.dst)
    try:
        check_args(args)
        ffmpeg = find_ffmpeg()
        names = targets(find_videos(str(src)))
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    todo = {n: t for n, t in names.items() if not (dst / t).exists()}
    print(f'{len(names)} videos in {src}, {len(names) - len(todo)} already in {dst}')
    outcomes = encode_all(ffmpeg, src, dst, todo, settings, args.workers)
    for name, outcome in sorted(outcomes.items()):
        if outcome.remark:
            what = 'kept, but damaged' if outcome.finished else 'failed'
            print(f'{what}: {name}: {outcome.remark}')
    failed = sum(not outcome.finished for outcome in outcomes.values())
    print(f'{len(names) - failed} of {len(names)} videos are in {dst}, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit('interrupted; run it again to go on where it stopped')
