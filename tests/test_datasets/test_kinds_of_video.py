"""What the backends make of unusual videos, against ffmpeg's own conversion to RGB.

The table in docs/videos.md has these results.
"""

import subprocess

import numpy as np
import pytest
from amd_mm.datasets import BACKENDS, UnreadableVideoError, available_backends, open_video

X264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-qp', '4']


def colours(matrix):
    scaled = f'scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p'
    return ['-vf', f'{scaled},setparams=colorspace={matrix}', *X264]


# name: ffmpeg's arguments after the input, mean difference in levels of 255 of each backend
# (None: it cannot read the file; above 10: it shows something else)
KINDS = {
    'plain.mp4': (['-pix_fmt', 'yuv420p', *X264], 0, 0, 0),
    'variable_rate.mp4': (
        ['-vf', "select='not(mod(n,3))+lt(n,4)',format=yuv420p", '-fps_mode', 'vfr', *X264], 0, 0, 0),
    'quarter_turn.mp4': (['-display_rotation', '90'], 0, 0, 0),
    'half_turn.mp4': (['-display_rotation', '180'], 0, 0, 0),
    'mirrored.mp4': (['-display_hflip'], 0, 60, 60),
    'mirrored_turn.mp4': (['-display_rotation', '90', '-display_hflip'], 0, 60, 60),
    'odd_size.mp4': (['-vf', 'scale=95:63', *X264, '-pix_fmt', 'yuv444p'], 0, 0, 0),
    'odd_size.webm': (['-vf', 'scale=95:63,format=yuv420p', '-c:v', 'libvpx-vp9'], 1, 2, 0),
    'ten_bits.mp4': (
        ['-c:v', 'libx265', '-x265-params', 'log-level=none:qp=4', '-pix_fmt', 'yuv420p10le'],
        3, 3, 0),
    'interlaced.mp4': (
        ['-vf', 'tinterlace=interleave_top,format=yuv420p', '-flags', '+ilme+ildct', *X264], 4, 0, 0),
    'full_range.mp4': (
        ['-vf', 'scale=out_range=pc,format=yuv420p,setparams=range=pc', *X264], 0, 0, 0),
    'bt601.mp4': (colours('smpte170m'), 0, 0, 0),
    'bt709.mp4': (colours('bt709'), 0, 0, 0),
    'bt2020.mp4': (colours('bt2020nc'), 0, 0, 0),
    'sample_aspect.mp4': (['-vf', 'setsar=2/1,format=yuv420p', *X264], 0, 0, 0),
    'alpha.mkv': (['-vf', 'format=rgba,colorchannelmixer=aa=0.5', '-c:v', 'ffv1'], 0, 0, 0),
    'palette.gif': (['-vf', 'split[a][b];[a]palettegen[p];[b][p]paletteuse'], 0, None, 0),
    'av1.mp4': (
        ['-c:v', 'libaom-av1', '-cpu-used', '8', '-crf', '10', '-pix_fmt', 'yuv420p'], 0, None, 0),
    'vp9.webm': (['-c:v', 'libvpx-vp9', '-pix_fmt', 'yuv420p'], 0, 0, 0),
}  # fmt: skip


@pytest.fixture(scope='module')
def sources(tmp_path_factory, ffmpeg):
    """A picture without sharp edges, where interpolated colours do not matter; and as H.264."""
    folder = tmp_path_factory.mktemp('kinds')
    plain, coded = folder / 'source.avi', folder / 'source.mp4'
    scene = 'testsrc2=s=96x64:r=25,format=gbrp,gblur=sigma=5'
    ffmpeg('-f', 'lavfi', '-i', scene, '-t', '0.4', '-c:v', 'ffv1', plain)
    ffmpeg('-i', plain, *X264, '-pix_fmt', 'yuv420p', coded)
    return plain, coded


def converted(ffmpeg, path, shape):
    """All frames by ffmpeg's program."""
    output = ['-fps_mode', 'passthrough', '-pix_fmt', 'rgb24', '-f', 'rawvideo', '-']
    run = [ffmpeg.program, '-nostdin', '-v', 'error', '-i', path, *output]
    pixels = subprocess.run(run, check=True, capture_output=True).stdout
    return np.frombuffer(pixels, np.uint8).reshape(-1, *shape)


@pytest.mark.parametrize('name', KINDS)
def test_against_ffmpeg(tmp_path, ffmpeg, sources, name):
    arguments, *expected = KINDS[name]
    path, (plain, coded) = str(tmp_path / name), sources
    if arguments[0].startswith('-display'):
        ffmpeg(*arguments, '-i', coded, '-c', 'copy', path)
    else:
        ffmpeg('-i', plain, *arguments, path)
    for backend, difference in zip(BACKENDS, expected):
        if backend not in available_backends():
            continue
        if difference is None:
            with pytest.raises(UnreadableVideoError):
                open_video(path, backend)
            continue
        with open_video(path, backend) as reader:
            frames = np.stack(reader.read(range(len(reader))))
        truth = converted(ffmpeg, path, frames.shape[1:])
        assert len(frames) == len(truth) >= 5
        found = np.abs(frames.astype(int) - truth).mean()
        assert found < difference + 0.5 if difference < 10 else found > 10, (backend, found)
