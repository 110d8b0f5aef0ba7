"""The index of a file gives the same frames as the list of all its packets."""

import av
import numpy as np
import pytest
from amd_mm.datasets import open_video, video_reader
from amd_mm.datasets.frame_index import frames_from_index
from amd_mm.datasets.video_reader import PyAVReader

X264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '2', '-g', '15']
VARIABLE = ['-vf', "select='not(mod(n,3))+lt(n,20)'", '-fps_mode', 'vfr']
SOUND = ['-f', 'lavfi', '-i', 'sine=d=2.4', '-map', '1', '-map', '0']

INDEXED = {
    # name: ffmpeg's arguments after the input
    'b_frames.mp4': X264,
    'sound.mov': [*SOUND, *X264],
    'variable.mp4': [*VARIABLE, *X264],
    'sound.mkv': [*SOUND, *X264],
    'variable.mkv': [*VARIABLE, *X264],
    'live.webm': ['-c:v', 'libvpx', '-g', '15', '-live', '1'],  # of unknown length
    'alpha.webm': ['-c:v', 'libvpx', '-g', '15', '-pix_fmt', 'yuva420p', '-auto-alt-ref', '0'],
    'plain.avi': ['-c:v', 'mpeg4', '-g', '15'],
}
WITHOUT_INDEX = {
    'fragments.mp4': [*X264, '-movflags', 'frag_keyframe+empty_moov'],
    'b_frames.avi': ['-c:v', 'mpeg4', '-bf', '2', '-g', '15'],
    'stream.ts': X264,
}


@pytest.fixture(scope='module')
def source(tmp_path_factory, make_video):
    return make_video(tmp_path_factory.mktemp('source') / 'source.mp4', frames=60, size=(96, 64))


def from_index(path):
    with av.open(path) as file:
        frames = frames_from_index(path, file, file.streams.video[0])
        return None if frames is None else frames.listed()


def from_packets(path):
    with av.open(path) as file:
        packets = file.demux(file.streams.video[0])
        return [(one.pts, one.is_keyframe) for one in packets if one.size and not one.is_discard]


@pytest.mark.parametrize('name', INDEXED)
def test_files_with_an_index(tmp_path, ffmpeg, source, name):
    path = str(tmp_path / name)
    ffmpeg('-i', source, *INDEXED[name], path)
    frames = from_index(path)
    assert len(frames) > 30 and frames == from_packets(path)
    assert sum(is_key for _, is_key in frames) > 1


def test_hidden_frames(tmp_path, ffmpeg, source):
    whole, cut = str(tmp_path / 'whole.mp4'), str(tmp_path / 'cut.mp4')
    ffmpeg('-i', source, *X264, '-g', '30', whole)
    ffmpeg('-ss', '1.3', '-i', whole, '-c', 'copy', cut)
    assert from_index(cut) == from_packets(cut) != []


@pytest.mark.parametrize('name', [*WITHOUT_INDEX, 'cut.mp4', 'cut.mkv'])
def test_files_without_an_index(tmp_path, ffmpeg, source, name, monkeypatch, capsys):
    """All packets are listed, and large files are named, one of each kind."""
    path = tmp_path / name
    whole = tmp_path / f'whole{path.suffix}'
    ffmpeg('-i', source, *WITHOUT_INDEX.get(name, [*X264, '-movflags', 'faststart']), whole)
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2] if name.startswith('cut') else data)
    assert from_index(str(path)) is None
    monkeypatch.setattr(video_reader, '_LARGE', 0)
    video_reader._warn_of_slow_files.cache_clear()
    for _ in range(2):
        with open_video(str(path)) as reader:
            assert len(reader) == len(from_packets(str(path))) > 10
    assert capsys.readouterr().out.count('no complete index') == 1


def test_a_matroska_file_that_ends_anywhere(tmp_path, ffmpeg, source):
    whole, cut = tmp_path / 'whole.mkv', tmp_path / 'cut.mkv'
    ffmpeg('-i', source, *X264, whole)
    data = whole.read_bytes()
    block = data.rindex(b'\xa3', 0, len(data) // 2)
    for length in range(block - 10, block + 30):
        cut.write_bytes(data[:length])
        assert from_index(str(cut)) is None


@pytest.mark.parametrize('ending', ['mp4', 'mkv', 'avi'])
def test_a_clip_of_a_long_video_reads_little(tmp_path, make_video, ffmpeg, ending):
    short, path = make_video(tmp_path / 'short.avi', frames=120, size=(320, 240)), tmp_path / 'long'
    ffmpeg('-stream_loop', 49, '-i', short, '-c', 'copy', '-f', dict(mkv='matroska').get(
        ending, ending), path)  # fmt: skip
    before = bytes_read()
    with open_video(str(path)) as reader:
        assert len(reader) == 6000
        assert len(reader.read(range(3000, 3032, 2))) == 16
    assert bytes_read() - before < 0.25 * path.stat().st_size


def test_a_file_is_listed_once(tmp_path, make_video, ffmpeg, monkeypatch):
    """Until it changes; and a process does not keep every file that it met."""
    listed, list_frames = [], PyAVReader._list_frames
    monkeypatch.setattr(PyAVReader, '_indexes', {})
    monkeypatch.setattr(video_reader, '_INDEXES_KEPT', 2)
    monkeypatch.setattr(
        PyAVReader, '_list_frames', lambda self: listed.append(self.path) or list_frames(self)
    )
    one, two, three = (
        make_video(tmp_path / f'{name}.mp4', frames=20 + name, seed=name) for name in range(3)
    )
    frames = []
    for path in (one, one, two, one):
        with open_video(path) as reader:
            frames.append(reader.read([7, 19, 3]))
    assert listed == [one, two]
    np.testing.assert_array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[0], frames[3])
    make_video(one, frames=30)
    assert len(open_video(one)) == 30 and listed == [one, two, one]
    assert [len(open_video(path)) for path in (three, one, two)] == [22, 30, 21]
    assert listed == [one, two, one, three, two]


def bytes_read():
    with open('/proc/self/io') as file:
        return int(file.readline().split()[1])
