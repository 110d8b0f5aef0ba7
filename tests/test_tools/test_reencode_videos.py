"""tools/reencode_videos.py with a real ffmpeg."""

import re
import shutil
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import with_cover

from .tool_scripts import load_tool

av = pytest.importorskip('av')
TOOL = load_tool('reencode_videos')


@pytest.fixture
def needs_ffmpeg():
    try:
        TOOL.find_ffmpeg()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def facts(path):
    capture = cv2.VideoCapture(str(path))
    width, height, frames = (
        int(capture.get(prop))
        for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT)
    )
    capture.release()
    return width, height, frames


def run(*arguments):
    return TOOL.main([*map(str, arguments), '--workers', '2', '--preset', 'ultrafast'])


def test_the_tree_is_kept_and_sides_shrink(needs_ffmpeg, tmp_path, make_video, capsys):
    src, dst = tmp_path / 'src', tmp_path / 'dst'
    make_video(src / 'wide.mp4', size=(130, 98), frames=20)
    make_video(src / 'deep' / 'tall clip.avi', size=(98, 130), frames=20)
    make_video(src / 'small.mp4', size=(64, 48), frames=20)
    (src / 'broken.mp4').write_text('text')
    assert run(src, dst, '--short-side', '64', '--gop', '5') == 1
    assert facts(dst / 'wide.mp4')[1:] == (64, 20)
    assert facts(dst / 'deep' / 'tall clip.mp4')[0::2] == (64, 20)
    assert facts(dst / 'small.mp4') == (64, 48, 20)  # never enlarged
    for path in dst.rglob('*.mp4'):
        width, height, _ = facts(path)
        assert width % 2 == height % 2 == 0
        assert abs(max(width, height) / min(width, height) - 4 / 3) < 0.07
    assert sorted(p.name for p in dst.rglob('*') if p.is_file()) == [
        'small.mp4',
        'tall clip.mp4',
        'wide.mp4',
    ]
    out = capsys.readouterr().out
    assert 'failed: broken.mp4: ' in out
    assert '3 of 4 videos are in' in out and '1 failed' in out


def test_a_name_that_is_not_utf8(needs_ffmpeg, tmp_path, name_not_utf8, capsys):
    (tmp_path / 'src').mkdir()
    (tmp_path / 'src' / name_not_utf8).write_text('text')
    assert run(tmp_path / 'src', tmp_path / 'dst') == 1
    assert 'failed: caf\ufffd.mp4: ' in capsys.readouterr().out


def test_covers_are_left_out(needs_ffmpeg, tmp_path, make_video):
    (tmp_path / 'src').mkdir()
    clip = make_video(tmp_path / 'clip.mp4', frames=10)
    with_cover(clip, str(tmp_path / 'src' / 'film.mp4'), TOOL.find_ffmpeg())
    assert run(tmp_path / 'src', tmp_path / 'dst') == 0
    assert facts(tmp_path / 'dst' / 'film.mp4') == (64, 48, 10)


def test_keyframes_and_fast_decoding(needs_ffmpeg, tmp_path, make_video):
    make_video(tmp_path / 'src' / 'a.mp4', frames=20, size=(96, 64))
    decoded = {}
    for name, options in dict(plain=[], fast=['--fast-decode']).items():
        options = ['--preset', 'medium', '--gop', '8', *options]
        assert TOOL.main([str(tmp_path / 'src'), str(tmp_path / name), *options]) == 0
        with av.open(str(tmp_path / name / 'a.mp4')) as file:
            frames = list(file.decode(video=0))
        keys = [number for number, frame in enumerate(frames) if frame.key_frame] + [20]
        assert keys[0] == 0 and np.diff(keys).max() <= 8
        decoded[name] = [frame.to_ndarray(format='rgb24').astype(int) for frame in frames]
        written = (tmp_path / name / 'a.mp4').read_bytes()
        # x264 writes its settings into the file.
        assert (b'cabac=0' in written) == (b'deblock=0' in written) == (name == 'fast')
    assert len(decoded['plain']) == len(decoded['fast']) == 20
    for one, other in zip(*decoded.values()):
        assert abs(one - other).mean() < 4


def test_a_second_run_goes_on_where_the_first_stopped(needs_ffmpeg, tmp_path, make_video, capsys):
    src, dst = tmp_path / 'src', tmp_path / 'dst'
    for name in ('a.mp4', 'b.mp4'):
        make_video(src / name)
    dst.mkdir()
    (dst / 'a.mp4').write_text('done before')
    (dst / 'b.mp4.part').write_text('what a killed run left')
    assert run(src, dst) == 0
    assert (dst / 'a.mp4').read_text() == 'done before'
    assert facts(dst / 'b.mp4') == (64, 48, 24)
    assert not (dst / 'b.mp4.part').exists()
    assert '2 videos in' in capsys.readouterr().out
    assert run(src, dst) == 0
    assert '2 already in' in capsys.readouterr().out


def test_truncated_videos_are_kept_and_named(needs_ffmpeg, tmp_path, make_video, capsys):
    path = tmp_path / 'src' / 'cut.avi'
    make_video(path, frames=100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    assert run(tmp_path / 'src', tmp_path / 'dst') == 0
    assert 25 < facts(tmp_path / 'dst' / 'cut.mp4')[2] < 100
    out = capsys.readouterr().out
    assert re.search('^kept, but damaged: cut.avi: .+$', out, re.M)
    assert '1 of 1 videos are in' in out and 'failed: ' not in out


@pytest.mark.parametrize(
    'names',
    [
        {'a.avi': 'a.avi.mp4', 'a.mp4': 'a.mp4', 'b.avi': 'b.mp4', 'd/a.mov': 'd/a.mp4'},
        {'a.avi': 'a.avi.mp4.mp4', 'a.avi.mp4': 'a.avi.mp4', 'a.mkv': 'a.mkv.mp4'},
    ],
)
def test_names_that_would_collide(names):
    assert TOOL.targets(list(names)) == names


@given(
    st.sets(
        st.lists(st.sampled_from(['avi', 'mp4', 'MP4', 'mkv']), min_size=1).map(
            lambda endings: '.'.join(['a', *endings])
        )
    )
)
def test_no_two_videos_get_one_name(names):
    targets = TOOL.targets(sorted(names))
    assert targets.keys() == names
    assert len(set(targets.values())) == len(names)
    assert all(t.endswith('.mp4') for t in targets.values())
    assert all(t == n for n, t in targets.items() if n.endswith('.mp4'))


@pytest.mark.parametrize(
    'arguments, says',
    [
        (['SRC', 'SRC/small'], 'must not be'),
        (['SRC', 'DST', '--crf', '60'], 'from 0 to 51'),
        (['SRC', 'DST', '--short-side', '1'], '2 or more'),
        (['DST', 'X'], 'is not a folder'),
    ],
)
def test_wrong_calls(needs_ffmpeg, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'SRC').mkdir()
    assert run(*arguments) == 2
    assert says in capsys.readouterr().err


def test_without_ffmpeg(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
    assert run(tmp_path / 'src', tmp_path / 'dst') == 2
    assert 'pip install imageio-ffmpeg' in capsys.readouterr().err
