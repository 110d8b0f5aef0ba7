"""Backends read the right frames, and give the same kind of error."""

import errno
import functools
import os
import pickle
import sys
import types
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from amd_mm.datasets import BACKENDS, UnreadableVideoError, available_backends, open_video
from amd_mm.datasets.video_reader import describe_error

from tests.conftest import with_cover

BACKENDS_HERE = list(available_backends())
every_backend = pytest.mark.parametrize('backend', BACKENDS_HERE)


@pytest.fixture(scope='module')
def source(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp('source') / 'source.mp4', frames=60, size=(96, 64))


@functools.lru_cache(maxsize=8)
def decode_in_order(path):
    """Ground truth: OpenCV from the first frame to the last, not rotated."""
    capture, frames = cv2.VideoCapture(path), []
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames
        frames.append(frame[..., ::-1])


def difference(a, b):
    assert a.shape == b.shape
    return np.abs(a.astype(np.int64) - b.astype(np.int64)).mean()


def assert_right_frames(path, backend, indices, turns=0):
    truth = decode_in_order(path)
    with open_video(path, backend) as reader:
        assert len(reader) == len(truth)
        frames = reader.read(indices)
    assert len(frames) == len(indices)
    for index, frame in zip(indices, frames):
        assert frame.dtype == np.uint8 and frame.flags['C_CONTIGUOUS']
        assert difference(frame, np.rot90(truth[index], turns)) < 2, index


@every_backend
@pytest.mark.parametrize('ending', ['.mp4', '.avi'])
def test_generated_videos(tmp_path, make_video, backend, ending):
    path = make_video(tmp_path / f'clip{ending}', frames=20, fps=12.5)
    assert_right_frames(path, backend, [13, 2, 2, 19, 0, 13])
    with open_video(path, backend) as reader:
        assert reader.avg_fps == pytest.approx(12.5)
        for index in (9, 4):  # backwards
            assert difference(reader.read([index])[0], decode_in_order(path)[index]) < 2


def test_real_videos(real_videos):
    for path in real_videos:
        if 'skeleton' in path:  # 1920x1080 with one keyframe: slow
            continue
        indices = np.random.default_rng(0).integers(0, len(decode_in_order(path)), 5)
        for backend in BACKENDS_HERE:
            assert_right_frames(path, backend, indices)


AWKWARD = {
    # kind: (ffmpeg's arguments after the input, ending)
    'b_frames_avi': (['-c:v', 'mpeg4', '-bf', '2', '-g', '15'], '.avi'),
    'wmv': (['-c:v', 'wmv2', '-g', '15'], '.wmv'),
    'variable_rate': (
        ['-vf', "select='not(mod(n,3))+lt(n,20)'", '-fps_mode', 'vfr', '-c:v', 'libx264',
         '-g', '15'],
        '.mp4',
    ),
    'matroska': (['-c:v', 'libx264', '-bf', '3', '-g', '15'], '.mkv'),
    'program_stream': (['-c:v', 'mpeg1video', '-bf', '2', '-g', '15'], '.mpg'),
}  # fmt: skip


@pytest.mark.parametrize('kind', AWKWARD)
def test_awkward_files(tmp_path, ffmpeg, source, kind):
    arguments, ending = AWKWARD[kind]
    path = str(tmp_path / f'awkward{ending}')
    ffmpeg('-i', source, *arguments, path)
    indices = np.random.default_rng(0).permutation(len(decode_in_order(path)))[:12]
    for backend in BACKENDS_HERE:
        assert_right_frames(path, backend, indices)


def test_edit_list_and_rotation(tmp_path, ffmpeg, source):
    """An edit list hides the first frames; a noted rotation is applied."""
    long, cut, turned = (str(tmp_path / f'{name}.mp4') for name in ('long', 'cut', 'turned'))
    ffmpeg('-i', source, '-c:v', 'libx264', '-g', '30', long)
    ffmpeg('-ss', '1.3', '-i', long, '-c', 'copy', cut)
    ffmpeg('-display_rotation', '90', '-i', source, '-c', 'copy', turned)
    count = len(decode_in_order(cut))
    assert count < 60
    for backend in BACKENDS_HERE:
        assert_right_frames(cut, backend, [count - 1, 0, count // 2, 3])
        assert_right_frames(turned, backend, [5, 1], turns=1)


def test_transport_streams(tmp_path, ffmpeg, source):
    path = str(tmp_path / 'stream.ts')
    ffmpeg('-i', source, '-c:v', 'libx264', path)
    assert_right_frames(path, 'pyav', [40, 3, 59])
    if 'decord' in BACKENDS_HERE:
        with pytest.raises(UnreadableVideoError, match='pyav'):
            open_video(path, 'decord')


@pytest.mark.parametrize('ending', ['ts', 'mp4'])
def test_frames_that_change_size(tmp_path, ffmpeg, make_video, ending):
    """All frames get the size of the first one, wherever reading starts."""
    names = [str(tmp_path / name) for name in ('large.ts', 'small.ts', 'both.ts')]
    for name, size in zip(names, ((96, 64), (48, 48))):
        video = make_video(tmp_path / 'part.mp4', frames=10, size=size)
        ffmpeg('-i', video, '-c:v', 'libx264', name)
    Path(names[2]).write_bytes(b''.join(Path(name).read_bytes() for name in names[:2]))
    path = str(tmp_path / f'changes.{ending}')
    ffmpeg('-i', names[2], '-c', 'copy', path)
    for backend in BACKENDS_HERE:
        if (backend, ending) == ('decord', 'ts'):  # refused, see above
            continue
        with open_video(path, backend) as reader:
            for wanted in ([15], [2, 15, 19]):
                assert {one.shape for one in reader.read(wanted)} == {(64, 96, 3)}


def test_cover_pictures(tmp_path, ffmpeg, make_video):
    """The cover of a song or a video is not a video, also where it is the first stream."""
    song, film = str(tmp_path / 'song.mp4'), str(tmp_path / 'film.mp4')
    with_cover(None, song, ffmpeg.program)
    with_cover(make_video(tmp_path / 'clip.mp4', frames=10), film, ffmpeg.program)
    with av.open(film) as file:
        assert file.streams[0].codec_context.name == 'png'
    for backend in BACKENDS_HERE:
        with pytest.raises(UnreadableVideoError):
            open_video(song, backend)
        with open_video(film, backend) as reader:
            assert len(reader) == 10 and reader.read([9])[0].shape == (48, 64, 3)


def test_pixels_of_pyav(tmp_path, make_video):
    """One converter for a video gives the same as a converter for each frame."""
    path = make_video(tmp_path / 'clip.mp4', frames=6, size=(50, 38))
    with av.open(path) as file:
        plain = [f.to_ndarray(format='rgb24') for f in file.decode(video=0)]
    with open_video(path, 'pyav') as reader:
        np.testing.assert_array_equal(reader.read(range(6)), plain)


@pytest.mark.parametrize('codec', ['libx264', 'libx265'])
@pytest.mark.parametrize('keyframes', [12, 60])
def test_pyav_skips_frames(tmp_path, ffmpeg, source, monkeypatch, codec, keyframes):
    """Frames that nobody asked for are dropped; the others are the same to the last bit."""
    path = str(tmp_path / 'b_frames.mp4')
    ffmpeg('-i', source, '-c:v', codec, '-bf', '3', '-g', keyframes, path)
    with open_video(path) as reader:
        every = reader.read(range(60))
    decoded, decode_from = [], BACKENDS['pyav']._decode_from

    def watched(self, target, wanted):
        for frame in decode_from(self, target, wanted):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(BACKENDS['pyav'], '_decode_from', watched)
    with open_video(path) as reader:
        # One after the other: the next read has the frames that a read dropped.
        for start, step in ((0, 4), (1, 4), (2, 3), (3, 1), (0, 17)):
            wanted = range(start, 60, step)
            decoded.clear()
            for index, frame in zip(wanted, reader.read(wanted)):
                np.testing.assert_array_equal(frame, every[index])
            assert len(set(decoded)) < wanted[-1] - start + 1 or step == 1


@every_backend
def test_reading(tiny_videos, backend):
    with open_video(tiny_videos[0], backend) as reader:
        first, again, other = reader.read([3, 3, 4])
        kept = again.copy()
        first[:] = 0  # each array has memory of its own
        np.testing.assert_array_equal(again, kept)
        assert difference(reader.read([3])[0], kept) == 0  # backwards
        assert difference(reader.read([4])[0], other) == 0
        for index in (-1, len(reader)):
            with pytest.raises(IndexError, match='frames 0 to'):
                reader.read([0, index])
    reader.close()  # twice


@every_backend
def test_broken_files(tmp_path, tiny_videos, capfd, backend):
    data = Path(tiny_videos[0]).read_bytes()
    contents = dict(empty=b'', cut=data[: len(data) // 2], text=b'text\n' * 500, head=data[:40])
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in ('missing', '.', *contents):
        with pytest.raises(UnreadableVideoError) as error:
            open_video(str(tmp_path / name), backend)
        assert error.value.path == str(tmp_path / name)
        assert error.value.reason and '\n' not in error.value.reason
    if backend == 'pyav':  # decord writes to stderr
        assert capfd.readouterr().err == ''


@every_backend
def test_no_frames(tmp_path, ffmpeg, backend):
    path = str(tmp_path / 'none.avi')
    with av.open(path, 'w') as file:
        stream = file.add_stream('mpeg4', rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        file.start_encoding()
    with pytest.raises(UnreadableVideoError, match='no video frames' if backend == 'pyav' else ''):
        open_video(path, backend)
    sound = str(tmp_path / 'sound.mp4')
    ffmpeg('-f', 'lavfi', '-i', 'sine=d=1', sound)
    with pytest.raises(UnreadableVideoError):
        open_video(sound, backend)


@pytest.mark.parametrize('backend', [b for b in BACKENDS_HERE if b != 'torchcodec'])
def test_garbage_in_the_middle(tmp_path, ffmpeg, source, backend):
    path = tmp_path / 'garbage.mp4'
    ffmpeg('-i', source, '-c:v', 'libx264', '-g', '60', '-movflags', '+faststart', path)
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) * 3 // 4)
    data[middle] = np.random.default_rng(0).bytes(middle.stop - middle.start)
    path.write_bytes(data)
    with open_video(str(path), backend) as reader:
        with pytest.raises(UnreadableVideoError):
            reader.read(range(len(reader)))


def test_missing_backends(tiny_videos, monkeypatch):
    with pytest.raises(ValueError, match="'ffmpeg'.*pyav, decord"):
        open_video('x.mp4', 'ffmpeg')
    for backend, reader in BACKENDS.items():
        monkeypatch.setitem(sys.modules, reader.package, None)
        with pytest.raises(ImportError, match=f'pip install {reader.requirement}'):
            open_video(tiny_videos[0], backend)
    assert not available_backends()


@pytest.mark.parametrize('seekable', [True, False])
def test_torchcodec_is_called_as_documented(tmp_path, monkeypatch, seekable):
    """Against a stand-in with the documented interface; the tests above use it if installed."""
    path = tmp_path / 'video'
    path.write_bytes(b'    ftyp' if seekable else b'RIFF    AVI LIST')
    frames = torch.arange(5 * 2 * 3 * 3, dtype=torch.uint8).view(5, 2, 3, 3)
    seen = {}

    class VideoDecoder:
        metadata = types.SimpleNamespace(average_fps=7.5)

        def __init__(self, source, *, dimension_order, num_ffmpeg_threads, seek_mode):
            seen.update(source=source, order=dimension_order, mode=seek_mode)

        def __len__(self):
            return 5

        def get_frames_at(self, indices):
            assert seekable and indices == sorted(set(indices))
            return types.SimpleNamespace(data=frames[indices])

        def get_frame_at(self, index):
            assert not seekable and index == seen.setdefault('next', 0)
            seen['next'] += 1
            return types.SimpleNamespace(data=frames[index])

    decoders = types.SimpleNamespace(VideoDecoder=VideoDecoder)
    monkeypatch.setitem(sys.modules, 'torchcodec', types.ModuleType('tc'))
    monkeypatch.setitem(sys.modules, 'torchcodec.decoders', decoders)
    with open_video(str(path), 'torchcodec') as reader:
        assert (len(reader), reader.avg_fps) == (5, 7.5)
        images = reader.read([4, 0, 4])
    assert seen.pop('next', 5) == 5
    assert seen == dict(source=str(path), order='NHWC', mode='exact')
    for image, index in zip(images, [4, 0, 4]):
        np.testing.assert_array_equal(image, frames[index].numpy())


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableVideoError('a b', 'why')))
    assert (error.path, error.reason) == ('a b', 'why')
    assert str(error) == 'cannot read a b: why'
    # torch raises the error of a worker again, from its text.
    assert str(UnreadableVideoError('Caught ...')) == 'Caught ...'
    # A log file can hold a name that is not UTF-8.
    str(UnreadableVideoError('caf\udce9.mp4', 'why')).encode()


def test_describe_error():
    error = RuntimeError('[19:24:43] /a/b.cc:7: Check failed: x\nStack trace')
    assert describe_error(error) == 'RuntimeError: Check failed: x'
    assert describe_error(StopIteration()) == 'StopIteration'
    assert len(describe_error(ValueError('y' * 999))) == 200


def test_a_file_that_ends_early(tiny_videos, monkeypatch):
    monkeypatch.setattr(BACKENDS['pyav'], '_decode', lambda self, indices: [])
    with open_video(tiny_videos[0]) as reader, pytest.raises(UnreadableVideoError, match='frame 3'):
        reader.read([5, 3])


@pytest.mark.parametrize(
    'error', [TypeError('a bug'), OSError(24, 'Too many open files'), MemoryError()]
)
def test_not_the_files_fault(tiny_videos, monkeypatch, error):
    def fail(self, indices):
        raise error

    monkeypatch.setattr(BACKENDS['pyav'], '_decode', fail)
    with open_video(tiny_videos[0]) as reader, pytest.raises(type(error)):
        reader.read([0])


def test_torchcodec_without_ffmpeg(monkeypatch):
    """Newer versions import without FFmpeg's libraries, and fail when a file is opened."""
    package = types.SimpleNamespace(ffmpeg_major_version=None)
    monkeypatch.setitem(sys.modules, 'torchcodec', package)
    monkeypatch.setitem(sys.modules, 'torchcodec.decoders', package)
    assert 'torchcodec' not in available_backends()
    package.ffmpeg_major_version = 7
    assert 'torchcodec' in available_backends()


@every_backend
@pytest.mark.skipif(os.geteuid() == 0, reason='root reads every file')
def test_a_file_without_permission_is_named(tmp_path, make_video, backend):
    path = Path(make_video(tmp_path / 'locked.mp4', frames=4))
    path.chmod(0)
    with pytest.raises(UnreadableVideoError, match=r'locked\.mp4'):
        open_video(str(path), backend)


def test_an_error_of_permission_names_the_file(source, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, 'Permission denied', str(path))

    monkeypatch.setattr(av, 'open', refuse)
    with pytest.raises(UnreadableVideoError, match='PermissionError: .*denied') as caught:
        open_video(source, 'pyav')
    assert source in str(caught.value)
