"""tools/benchmarks/data_pipeline.py: equal clips first, then figures."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

av = pytest.importorskip('av', reason='the benchmark writes its videos by it')
FOLDER = Path(__file__).resolve().parents[2] / 'tools' / 'benchmarks'


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module('data_pipeline')


def data_ways() -> ModuleType:
    """The module beside it, once the fixture has shown where it is."""
    return importlib.import_module('data_ways')


@pytest.fixture
def small(bench: ModuleType, tmp_path: Path) -> object:
    return bench.make_files(tmp_path, (96, 72), 80, 12, 1)


def test_as_a_program(tmp_path: Path) -> None:
    out = tmp_path / 'new folder' / 'figures.json'
    done = subprocess.run(
        [
            sys.executable,
            str(FOLDER / 'data_pipeline.py'),
            '--quick',
            '--backends',
            'pyav',
            '--clips-per-second',
            '1000',
            '--json',
            str(out),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = {
        row.split('|')[1].strip(): row.split('|')[2:-1]
        for row in done.stdout.splitlines()
        if row[:1] == '|'
    }
    assert {'pyav', 'public', 'per clip', 'pyav, 1', 'pyav, 4'} < set(rows)
    assert torch.__version__ in done.stdout
    found = json.loads(out.read_text())
    for table in found['tables'].values():
        for name, row in table.items():
            (speed,) = row['clips_per_s']
            cells = [cell.strip() for cell in rows[name]]
            assert cells[0].startswith(f'{speed:.1f} (')
            # Cores are whole, and enough.
            assert 0 <= int(cells[-1]) - 1000 / speed < 1
            parts = row['parts_ms']
            assert min(parts.values()) > 0
            # The parts are all of it, but for some loops.
            assert 0.5 < sum(parts.values()) * speed / 1e3 <= 1.01
    assert {'list of clips', 'one tensor'} < set(rows)


def test_all_ways_make_the_same_clips(bench: ModuleType, small: object) -> None:
    backends = ['pyav', *[b for b in ('decord',) if b in _installed(bench)]]
    found = bench.compare(small, True, backends, range(2))
    assert set(found) > {bench.PUBLIC, data_ways().COPIES, data_ways().EVERY}
    for lever in (data_ways().COPIES, data_ways().EVERY, data_ways().CHANNELS):
        assert found[lever]['largest'] == 0
    assert 0 < found[bench.PUBLIC]['largest'] <= 2


def _installed(bench: ModuleType) -> tuple:
    return bench.available_backends()


def test_one_decode_a_clip_makes_the_first_of_each(bench: ModuleType, small: object) -> None:
    lean = bench.PerClip('pyav', 3).batch(small.paths, 0)
    plain = bench.Public(1, 3).batch(small.paths, 0)
    assert len(lean) == len(plain) == 3
    data_jobs = importlib.import_module(bench.compare.__module__)
    assert data_jobs.difference(lean, plain)['largest'] <= 2
    first = bench.Lean('pyav').batch(small.paths, 0)[0]
    assert torch.equal(lean[0], first)


@pytest.mark.parametrize('wrong', ['public', 'lever'])
def test_nothing_is_timed_when_clips_differ(
    bench: ModuleType, small: object, monkeypatch, wrong: str
) -> None:
    if wrong == 'public':
        plain = bench.Public._clip
        monkeypatch.setattr(bench.Public, '_clip', lambda self, frames: plain(self, frames) + 0.1)
        name = 'public'
    else:
        plain = data_ways().ResizeAsChannels._resize_imgs
        monkeypatch.setattr(
            data_ways().ResizeAsChannels,
            '_resize_imgs',
            lambda self, *given: plain(self, *given)[..., ::-1].copy(),
        )
        name = data_ways().CHANNELS
    with pytest.raises(bench.UnequalError, match=name):
        bench.compare(small, True, ['pyav'], range(1))


@pytest.mark.parametrize('keyframes', [12, 48])
def test_keyframes_are_as_far_apart_as_asked(
    bench: ModuleType, tmp_path: Path, keyframes: int
) -> None:
    (path,) = bench.make_files(tmp_path, (96, 72), 100, keyframes, 1).paths
    with av.open(path) as file:
        packets = [p for p in file.demux(video=0) if p.size]
    keys = [n for n, packet in enumerate(packets) if packet.is_keyframe]
    assert len(packets) == 100 and keys[:2] == [0, keyframes]


@pytest.mark.parametrize(
    'arguments, says',
    [
        (['--sizes', '340'], 'no size: two even numbers'),
        (['--sizes', '341x256'], 'no size: two even numbers'),
        (['--backends', 'ffmpeg'], 'invalid choice'),
        (['--views', '0'], "'0' is no number from 1"),
    ],
)
def test_wrong_calls_stop_it(bench: ModuleType, capsys, arguments: list, says: str) -> None:
    with pytest.raises(SystemExit):
        bench.parse_args(arguments)
    assert says in capsys.readouterr().err


def test_videos_that_are_not_there_are_named(bench: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match='none.mp4 is not there'):
        bench.main(['--videos', str(tmp_path / 'none.mp4')])


def test_own_videos_are_files_and_folders(bench: ModuleType, small: object, tmp_path: Path) -> None:
    path = small.paths[0]
    assert bench.own_files([path, str(tmp_path)]).paths == [path, path]
