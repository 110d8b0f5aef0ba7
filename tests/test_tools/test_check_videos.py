"""tools/check_videos.py on files of every kind, and on crashing decoders."""

import os
import signal
import subprocess
import sys
import time

import pytest
from amd_mm.datasets import checking
from amd_mm.datasets.checking import CheckSettings, check_videos

from .tool_scripts import TOOLS, load_tool

TOOL = load_tool('check_videos')


@pytest.fixture
def folder(tmp_path, make_video):
    """Three good videos, one with spaces in its name, and three bad."""
    root = tmp_path / 'videos'
    good = make_video(root / 'a.mp4', frames=20)
    make_video(root / 'more' / 'b c 1.mp4', frames=20, seed=1)
    make_video(root / 'short.avi', frames=4, seed=2)
    with open(good, 'rb') as file:
        data = file.read()
    (root / 'cut.mp4').write_bytes(data[: len(data) // 2])
    (root / 'empty.mp4').touch()
    (root / 'text.mp4').write_text('text')
    return root


@pytest.fixture
def check(tmp_path, capfd):
    """Run the tool; gives exit code, clean lines, bad lines, output."""

    def run(*arguments):
        clean, bad = tmp_path / 'o' / 'clean.txt', tmp_path / 'o' / 'bad.txt'
        code = TOOL.main(
            [
                *map(str, arguments),
                '--out',
                str(clean),
                '--bad',
                str(bad),
                '--workers',
                '2',
            ]
        )
        if code == 2:
            return code, None, None, capfd.readouterr().err
        return (
            code,
            clean.read_text().splitlines(),
            bad.read_text().splitlines(),
            capfd.readouterr().out,
        )

    return run


def test_a_folder(folder, check):
    code, clean, bad, out = check(folder)
    assert code == 1
    assert clean == ['a.mp4', 'more/b c 1.mp4', 'short.avi']
    paths, reasons = zip(*(line.split('\t') for line in bad))
    assert paths == tuple(
        str(folder / name) for name in ('cut.mp4', 'empty.mp4', 'text.mp4')
    )
    assert reasons[1] == 'the file is empty'
    assert '3 of 6 videos are readable, 3 are not' in out
    assert f'bad: {paths[0]}: {reasons[0]}' in out


@pytest.mark.parametrize('options', [['--full'], ['--backend', 'opencv']])
def test_other_ways_to_look(folder, check, options):
    code, clean, bad, _ = check(folder, *options)
    assert (code, len(clean), len(bad)) == (1, 3, 3)


def test_a_list_keeps_its_lines(folder, check, tmp_path):
    lines = ['more/b c 1.mp4,1', 'empty.mp4,2', 'gone.mp4,0', 'short.avi,3']
    (tmp_path / 'train.txt').write_text('\n'.join(lines))
    code, clean, bad, _ = check(
        tmp_path / 'train.txt',
        '--data-root',
        folder,
        '--delimiter',
        ',',
        '--min-frames',
        5,
    )
    assert (code, clean) == (1, lines[:1])
    assert [line.split('\t')[1] for line in bad] == [
        'the file is empty',
        'no such file',
        'it has 4 frames, fewer than min_frames=5',
    ]


def test_all_clean(tiny_video_folder, check):
    code, clean, bad, out = check(tiny_video_folder)
    assert (code, len(clean), bad) == (0, 6, [])
    assert '6 of 6 videos are readable' in out


def test_wrong_calls(tmp_path, check):
    assert 'no such list file' in check(tmp_path / 'nowhere')[3]
    assert 'no videos in' in check(tmp_path)[3]
    (tmp_path / 'list.txt').write_text('a.mp4 x')
    assert 'line 1' in check(tmp_path / 'list.txt')[3]
    assert (
        'must be positive'
        in check(tmp_path / 'list.txt', '--timeout', '0', '--delimiter', ';')[
            3
        ]
    )
    code = TOOL.main([str(tmp_path / 'list.txt'), '--out', 'x', '--bad', 'x'])
    assert code == 2


def test_as_a_program(tiny_video_folder, tmp_path):
    """The way users call it; lists go to the working folder by default."""
    done = subprocess.run(
        [
            sys.executable,
            str(TOOLS / 'check_videos.py'),
            str(tiny_video_folder),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    name = tiny_video_folder.name
    assert len((tmp_path / f'{name}_clean.txt').read_text().split('\n')) == 7
    assert (tmp_path / f'{name}_bad.txt').read_text() == ''


def misbehave(path, settings):
    """In place of a decoder: crashes, hangs, or tells the file's name."""
    if 'crash' in path:
        os.kill(os.getpid(), signal.SIGKILL)
    if 'exit' in path:
        os._exit(3)
    if 'hang' in path:
        time.sleep(60)
    return None if 'good' in path else path


@pytest.mark.skipif(
    not hasattr(os, 'fork'), reason='the stand-in reaches forked processes'
)
@pytest.mark.parametrize('workers', [1, 3])
def test_a_decoder_may_crash_or_hang(monkeypatch, workers):
    monkeypatch.setattr(checking, 'check_video', misbehave)
    paths = ['good1', 'crash', 'good2', 'hang', 'exit', 'bad', 'good3'] * 2
    started = time.monotonic()
    found = dict(
        check_videos(paths, CheckSettings(timeout=0.5), workers=workers)
    )
    assert time.monotonic() - started < 20
    reasons = [found[index] for index in range(len(paths))]
    assert (
        reasons
        == [
            None,
            'the decoder crashed on it (signal 9)',
            None,
            'decoding took longer than 0.5 s',
            'the decoder crashed on it (exit code 3)',
            'bad',
            None,
        ]
        * 2
    )


def test_a_wrong_backend_is_not_blamed_on_the_videos():
    with pytest.raises(ValueError, match='unknown video backend'):
        list(check_videos(['a.mp4'], CheckSettings(backend='x')))
