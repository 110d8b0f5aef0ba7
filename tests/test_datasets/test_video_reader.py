"""All backends give the same frames, and the same kind of error."""

import functools
import pickle
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from amd_mm.datasets import BACKENDS, UnreadableVideoError, available_backends, open_video
from amd_mm.datasets.video_reader import describe_error

LOCAL = list(available_backends())
RANDOM_ACCESS = [13, 2, 2, 19, 0, 13]


@pytest.fixture(scope='module')
def ffmpeg():
    """Run ffmpeg with arguments.

    The package's: the machine's own may be too old for some of them.
    """
    imageio_ffmpeg = pytest.importorskip('imageio_ffmpeg')
    program = imageio_ffmpeg.get_ffmpeg_exe()

    def run(*arguments):
        subprocess.run([program, '-v', 'error', '-y', *map(str, arguments)], check=True)

    return run


@pytest.fixture(scope='module')
def source(tmp_path_factory, make_video):
    folder = tmp_path_factory.mktemp('source')
    return make_video(folder / 'source.mp4', frames=60, size=(96, 64))


@functools.lru_cache(maxsize=8)
def decode_in_order(path):
    """Ground truth: OpenCV from the first frame to the last, not turned."""
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


@pytest.mark.parametrize('backend', LOCAL)
@pytest.mark.parametrize('ending', ['.mp4', '.avi'])
def test_frames_of_generated_videos(tmp_path, make_video, backend, ending):
    path = make_video(tmp_path / f'clip{ending}', frames=20, fps=12.5)
    assert_right_frames(path, backend, RANDOM_ACCESS)
    with open_video(path, backend) as reader:
        assert reader.avg_fps == pytest.approx(12.5)


def test_frames_of_real_videos(real_videos):
    for path in real_videos:
        if 'skeleton' in path:  # 1920x1080 with one keyframe: slow
            continue
        count = len(decode_in_order(path))
        indices = np.random.default_rng(0).integers(0, count, 5)
        for backend in LOCAL:
            assert_right_frames(path, backend, indices)


AWKWARD = {
    # what: ffmpeg's arguments after the input, ending
    'b_frames_avi': (['-c:v', 'mpeg4', '-bf', '2', '-g', '15'], '.avi'),
    'wmv': (['-c:v', 'wmv2', '-g', '15'], '.wmv'),
    'variable_rate': ([
        '-vf', "select='not(mod(n,3))+lt(n,20)'", '-fps_mode', 'vfr',
        '-c:v', 'libx264', '-g', '15'
    ], '.mp4'),
    'matroska': (['-c:v', 'libx264', '-bf', '3', '-g', '15'], '.mkv'),
    'program_stream': (['-c:v', 'mpeg1video', '-bf', '2', '-g', '15'],
                       '.mpg'),
}  # yapf: disable


@pytest.mark.parametrize('backend', LOCAL)
@pytest.mark.parametrize('kind', AWKWARD)
def test_frames_of_awkward_files(tmp_path, ffmpeg, source, backend, kind):
    arguments, ending = AWKWARD[kind]
    path = str(tmp_path / f'awkward{ending}')
    ffmpeg('-i', source, *arguments, path)
    count = len(decode_in_order(path))
    indices = np.random.default_rng(0).permutation(count)[:12]
    assert_right_frames(path, backend, indices)


@pytest.mark.parametrize('backend', LOCAL)
def test_an_edit_list_hides_the_first_frames(tmp_path, ffmpeg, source, backend):
    long, cut = str(tmp_path / 'long.mp4'), str(tmp_path / 'cut.mp4')
    ffmpeg('-i', source, '-c:v', 'libx264', '-g', '30', long)
    ffmpeg('-ss', '1.3', '-i', long, '-c', 'copy', cut)
    count = len(decode_in_order(cut))
    assert count < 60
    assert_right_frames(cut, backend, [count - 1, 0, count // 2, 3])


@pytest.mark.parametrize('backend', LOCAL)
def test_a_noted_rotation_is_applied(tmp_path, ffmpeg, source, backend):
    turned = str(tmp_path / 'turned.mp4')
    ffmpeg('-display_rotation', '90', '-i', source, '-c', 'copy', turned)
    assert_right_frames(turned, backend, [5, 1], turns=1)


@pytest.mark.parametrize('size', [(96, 64), (50, 38)])
def test_pyavs_pixels_are_those_of_its_frames(tmp_path, make_video, size):
    """One converter for a video gives what each frame's own would."""
    av = pytest.importorskip('av')
    path = make_video(tmp_path / 'clip.mp4', frames=6, size=size)
    with av.open(path) as file:
        plain = [f.to_ndarray(format='rgb24') for f in file.decode(video=0)]
    with open_video(path, 'pyav') as reader:
        np.testing.assert_array_equal(reader.read(range(6)), plain)


@pytest.mark.parametrize('codec', ['libx264', 'libx265'])
@pytest.mark.parametrize('keyframes', [12, 60])
def test_pyav_drops_frames_that_nobody_asked_for(
    tmp_path, ffmpeg, source, monkeypatch, codec, keyframes
):
    """The others are the same to the last bit."""
    pytest.importorskip('av')
    path = str(tmp_path / 'b_frames.mp4')
    ffmpeg('-i', source, '-c:v', codec, '-bf', '3', '-g', keyframes, path)
    with open_video(path, 'pyav') as reader:
        every = reader.read(range(60))
    decoded = []
    plain = BACKENDS['pyav']._decode_from

    def watched(self, target, wanted):
        for frame in plain(self, target, wanted):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(BACKENDS['pyav'], '_decode_from', watched)
    with open_video(path, 'pyav') as reader:
        # One after the other: what a read dropped, the next one has.
        for start, step in ((0, 4), (1, 4), (2, 3), (3, 1), (0, 17)):
            wanted = range(start, 60, step)
            decoded.clear()
            for index, frame in zip(wanted, reader.read(wanted)):
                np.testing.assert_array_equal(frame, every[index])
            span = wanted[-1] - start + 1
            assert len(set(decoded)) < span or step == 1


def test_decord_refuses_transport_streams(tmp_path, ffmpeg, source):
    path = str(tmp_path / 'stream.ts')
    ffmpeg('-i', source, '-c:v', 'libx264', path)
    with pytest.raises(UnreadableVideoError, match='backend="pyav"'):
        open_video(path, 'decord')
    if 'pyav' in LOCAL:
        assert_right_frames(path, 'pyav', [40, 3, 59])


@pytest.mark.parametrize('backend', LOCAL)
def test_each_frame_has_its_own_memory(tiny_videos, backend):
    with open_video(tiny_videos[0], backend) as reader:
        first, again, other = reader.read([3, 3, 4])
        kept = again.copy()
        first[:] = 0
        np.testing.assert_array_equal(again, kept)
        # Reading on, backwards too, after a read.
        assert difference(reader.read([3])[0], kept) == 0
        assert difference(reader.read([4])[0], other) == 0


@pytest.mark.parametrize('backend', LOCAL)
def test_a_position_out_of_range_is_the_callers_mistake(tiny_videos, backend):
    with open_video(tiny_videos[0], backend) as reader:
        for index in (-1, len(reader)):
            with pytest.raises(IndexError, match='frames 0 to'):
                reader.read([0, index])


@pytest.mark.parametrize('backend', LOCAL)
def test_closing_twice_is_fine(tiny_videos, backend):
    reader = open_video(tiny_videos[0], backend)
    reader.close()
    reader.close()


def break_video(path, kind):
    """Turn a good mp4 file into a broken one, or take it away."""
    data = path.read_bytes()
    if kind == 'missing':
        path.unlink()
    elif kind == 'a folder':
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {
                'empty': b'',
                'truncated': data[: len(data) // 2],
                'not a video': b'this is text\n' * 200,
                'only the head': data[:40],
            }[kind]
        )


@pytest.mark.parametrize('backend', LOCAL)
@pytest.mark.parametrize(
    'kind', ['missing', 'a folder', 'empty', 'truncated', 'not a video', 'only the head']
)
def test_broken_files(tmp_path, make_video, capfd, backend, kind):
    path = tmp_path / 'my clip.mp4'
    make_video(path)
    break_video(path, kind)
    with pytest.raises(UnreadableVideoError) as error:
        open_video(str(path), backend)
    assert error.value.path == str(path)
    assert error.value.reason and '\n' not in error.value.reason
    if backend == 'pyav':  # decord writes to stderr
        assert capfd.readouterr().err == ''


@pytest.mark.parametrize('backend', LOCAL)
def test_sound_only(tmp_path, ffmpeg, backend):
    path = str(tmp_path / 'sound.mp4')
    ffmpeg('-f', 'lavfi', '-i', 'sine=d=1', path)
    with pytest.raises(UnreadableVideoError):
        open_video(path, backend)


@pytest.mark.parametrize('backend', LOCAL)
def test_a_stream_without_frames(tmp_path, backend):
    av = pytest.importorskip('av')
    path = str(tmp_path / 'none.avi')
    with av.open(path, 'w') as file:
        stream = file.add_stream('mpeg4', rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        file.start_encoding()
    with pytest.raises(UnreadableVideoError) as error:
        open_video(path, backend)
    if backend not in ('decord', 'torchcodec'):  # fail before they count
        assert error.value.reason == 'it has no video frames'


@pytest.mark.parametrize('backend', ['decord', 'pyav'])
def test_garbage_in_the_middle(tmp_path, ffmpeg, source, backend):
    if backend not in LOCAL:
        pytest.skip(f'{backend} is not installed')
    path = tmp_path / 'garbage.mp4'
    ffmpeg('-i', source, '-c:v', 'libx264', '-g', '60', '-movflags', '+faststart', path)
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) * 3 // 4)
    rng = np.random.default_rng(0)
    data[middle] = rng.bytes(middle.stop - middle.start)
    path.write_bytes(data)
    with open_video(str(path), backend) as reader:
        with pytest.raises(UnreadableVideoError):
            reader.read(range(len(reader)))


def test_unknown_backend_lists_the_known():
    with pytest.raises(ValueError, match="'ffmpeg'.*pyav, decord"):
        open_video('x.mp4', 'ffmpeg')


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_missing_package_is_named(tiny_videos, monkeypatch, backend):
    package = BACKENDS[backend].package
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f'pip install {BACKENDS[backend].requirement}'):
        open_video(tiny_videos[0], backend)
    assert backend not in available_backends()


@pytest.mark.parametrize('seekable', [True, False])
def test_torchcodec_is_called_as_documented(tiny_videos, tmp_path, monkeypatch, seekable):
    """Against a stand-in with the interface that torchcodec documents.

    Where it is installed the tests above read with it.
    """
    import torch

    path = tiny_videos[0]
    if not seekable:
        path = str(tmp_path / 'video.avi')
        Path(path).write_bytes(b'RIFF    AVI LIST')
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
    with open_video(path, 'torchcodec') as reader:
        assert (len(reader), reader.avg_fps) == (5, 7.5)
        images = reader.read([4, 0, 4])
    assert seen.pop('next', 5) == 5
    assert seen == dict(source=path, order='NHWC', mode='exact')
    for image, index in zip(images, [4, 0, 4]):
        np.testing.assert_array_equal(image, frames[index].numpy())


def test_errors_come_back_from_worker_processes():
    error = pickle.loads(pickle.dumps(UnreadableVideoError('a b', 'why')))
    assert (error.path, error.reason) == ('a b', 'why')
    assert str(error) == 'cannot read a b: why'


def test_native_messages_are_cleaned():
    error = RuntimeError('[19:24:43] /a/b.cc:7: Check failed: x\nStack trace')
    assert describe_error(error) == 'RuntimeError: Check failed: x'
    assert describe_error(StopIteration()) == 'StopIteration'
    assert len(describe_error(ValueError('y' * 999))) == 200


def test_a_mistake_in_the_program_is_not_blamed_on_the_file(tiny_videos, monkeypatch):

    def wrong(self, indices):
        raise TypeError('a bug')

    monkeypatch.setattr(BACKENDS['pyav'], '_read_ascending', wrong)
    with open_video(tiny_videos[0], 'pyav') as reader:
        with pytest.raises(TypeError, match='a bug'):
            reader.read([0])


def test_too_many_open_files_is_not_blamed_on_the_file(tiny_videos, monkeypatch):

    def no_handles(self, indices):
        raise OSError(24, 'Too many open files')

    monkeypatch.setattr(BACKENDS['pyav'], '_read_ascending', no_handles)
    with open_video(tiny_videos[0], 'pyav') as reader:
        with pytest.raises(OSError, match='Too many'):
            reader.read([0])
