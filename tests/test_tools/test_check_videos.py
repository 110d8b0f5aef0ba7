"""tools/check_videos.py on files of every kind, and on crashing decoders."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from amd_mm.datasets import read_list_file
from mmengine import Config

from .tool_scripts import TOOLS, load_tool

TOOL = load_tool('check_videos')
CheckSettings, check_videos = TOOL.CheckSettings, TOOL.check_videos


@pytest.fixture(scope='module')
def folder(tmp_path_factory, make_video):
    """Three good videos, one of them short and one with spaces in its name, and three bad."""
    root = tmp_path_factory.mktemp('checked') / 'videos'
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
    """Run the tool: exit code, clean lines, bad lines, output; or 2 and the error."""

    def run(*arguments):
        clean, bad = tmp_path / 'o' / 'clean.txt', tmp_path / 'o' / 'bad.txt'
        code = TOOL.main(
            [*map(str, arguments), '--out', str(clean), '--bad', str(bad), '--workers', '2']
        )
        captured = capfd.readouterr()
        if code == 2:
            return code, None, None, captured.err
        return code, *(path.read_text().splitlines() for path in (clean, bad)), captured.out

    return run


def test_a_folder(folder, check):
    code, clean, bad, out = check(folder)
    assert code == 1
    assert clean == ['a.mp4', 'more/b c 1.mp4']
    paths, reasons = zip(*(line.split('\t') for line in bad))
    names = ('cut.mp4', 'empty.mp4', 'short.avi', 'text.mp4')
    assert paths == tuple(str(folder / name) for name in names)
    assert reasons[1] == 'the file is empty'
    assert reasons[2] == 'it has 4 frames, fewer than min_frames=16'
    assert '2 of 6 videos are readable, 4 are not' in out
    assert f'bad: {paths[0]}: {reasons[0]}' in out


@pytest.mark.parametrize('options', [['--full'], ['--backend', 'decord']])
def test_options(folder, check, options):
    code, clean, bad, _ = check(folder, *options, '--min-frames', 1)
    assert (code, len(clean), len(bad)) == (1, 3, 3)


@pytest.mark.parametrize('name', ['k400', 'sthv2', 'folder'])
def test_defaults_are_those_of_pretraining(name):
    base = TOOLS.parent / 'configs' / '_base_' / 'datasets' / f'{name}.py'
    opening = Config.fromfile(base).train_dataloader.dataset.pipeline[0]
    args = TOOL.parse_args(['x'])
    assert (args.backend, args.min_frames) == (opening.backend, opening.min_frames)


def test_a_list_keeps_its_lines(folder, check, tmp_path):
    lines = ['more/b c 1.mp4,1', 'empty.mp4,2', 'gone.mp4,0', 'short.avi,3']
    (tmp_path / 'train.txt').write_text('\n'.join(lines))
    code, clean, bad, _ = check(
        tmp_path / 'train.txt', '--data-root', folder, '--delimiter', ',', '--min-frames', 5
    )
    assert (code, clean) == (1, lines[:1])
    assert [line.split('\t')[1] for line in bad] == [
        'the file is empty',
        'no such file',
        'it has 4 frames, fewer than min_frames=5',
    ]


@pytest.mark.parametrize(
    'text, options, message',
    [
        (b'a.mp4 x', [], 'line 1'),
        (b'a.mp4 1', ['--timeout', '0'], 'must be positive'),
        (b'caf\xe9.mp4 1', [], 'Save the file as utf-8'),
        (b'some folder 163 3', [], 'Lists of frame folders are not checked here'),
        (b'some folder 163', [], 'lists no videos'),
    ],
)
def test_wrong_lists(tmp_path, check, text, options, message):
    (tmp_path / 'list.txt').write_bytes(text)
    assert message in check(tmp_path / 'list.txt', *options)[3]


def test_wrong_calls(tmp_path, check):
    assert 'no such list file' in check(tmp_path / 'nowhere')[3]
    error = check(tmp_path)[3]
    assert 'no videos in' in error
    assert 'extensions' not in error  # the tool has no such option
    assert TOOL.main(['list.txt', '--out', 'x', '--bad', 'x']) == 2


def test_a_list_may_have_names_without_endings(tmp_path, make_video, check):
    os.rename(make_video(tmp_path / 'v.mp4'), tmp_path / 'clip 7')
    (tmp_path / 'list.txt').write_text('clip 7 1\ngone 2')
    code, clean, bad, _ = check(tmp_path / 'list.txt', '--data-root', tmp_path)
    assert (code, clean, len(bad)) == (1, ['clip 7 1'], 1)


@pytest.mark.parametrize('option', ['--out', '--bad'])
@pytest.mark.parametrize('where', ['taken/clean.txt', 'folder'])
def test_outputs_are_tried_first(tmp_path, folder, monkeypatch, capsys, option, where):
    monkeypatch.setattr(TOOL, 'check_videos', None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'taken').touch()
    (tmp_path / 'folder').mkdir()
    assert TOOL.main([str(folder), option, where]) == 2
    assert f'error: cannot write {where}: ' in capsys.readouterr().err
    assert not list(tmp_path.glob('*.txt'))


def test_names_that_are_not_utf8(tmp_path, make_video):
    make_video(tmp_path / 'v' / 'a.mp4')
    try:
        (tmp_path / 'v' / os.fsdecode(b'caf\xe9.mp4')).write_bytes(b'x')
    except OSError:
        pytest.skip('this file system has UTF-8 names only')
    clean, bad = tmp_path / 'clean', tmp_path / 'bad'
    assert TOOL.main([str(tmp_path / 'v'), '--out', str(clean), '--bad', str(bad)]) == 1
    # The clean list can be read, the bad list has the name as it is.
    assert [entry.name for entry in read_list_file(str(clean))] == ['a.mp4']
    path, reason = bad.read_bytes().split(b'\t')
    assert path.endswith(b'/caf\xe9.mp4') and reason.startswith(b'its name is not utf-8')


def test_as_a_program(tiny_video_folder, tmp_path):
    """Lists are written to the working directory by default."""
    done = subprocess.run(
        [sys.executable, str(TOOLS / 'check_videos.py'), str(tiny_video_folder)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    name = tiny_video_folder.name
    assert len((tmp_path / f'{name}_clean.txt').read_text().splitlines()) == 6
    assert (tmp_path / f'{name}_bad.txt').read_text() == ''


def misbehave(path, settings):
    """Stands in for a decoder: crashes, hangs, or returns the file's name."""
    if 'crash' in path:
        os.kill(os.getpid(), signal.SIGKILL)
    if 'exit' in path:
        os._exit(3)
    if 'hang' in path:
        time.sleep(60)
    if 'ctrl-c' in path:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
    return None if 'good' in path else path


@pytest.mark.parametrize('workers', [1, 3])
def test_a_decoder_may_crash_or_hang(monkeypatch, workers):
    monkeypatch.setattr(TOOL, 'check_video', misbehave)
    expected = {
        'good1': None,
        'crash': 'the decoder crashed on it (signal 9)',
        'good2': None,
        'hang': 'decoding took longer than 0.5 s',
        'exit': 'the decoder crashed on it (exit code 3)',
        'bad': 'bad',
        'good ctrl-c': None,  # reaches all processes, and is not a crash
        'good3': None,
    }
    paths = list(expected) * 2
    found = dict(check_videos(paths, CheckSettings(timeout=0.5), workers=workers))
    assert [found[index] for index in range(16)] == [*expected.values()] * 2


def test_a_process_that_dies_while_idle_is_replaced(monkeypatch):
    monkeypatch.setattr(TOOL, 'check_video', misbehave)
    others = set(multiprocessing.active_children())
    found = {}
    paths = ['good1', 'good2', 'bad', 'good3']
    for index, reason in check_videos(paths, CheckSettings(), workers=1):
        found[index] = reason
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
            process.join()
    assert found == {0: None, 1: None, 2: 'bad', 3: None}


def test_ctrl_c_keeps_the_results(tmp_path, monkeypatch, capsys):
    (tmp_path / 'list.txt').write_text('a.mp4 1\nb.mp4 2\nc.mp4 3\nd.mp4 4')
    (tmp_path / 'list_clean.txt').write_text('of another day')

    def interrupted(paths, settings, workers):
        yield 2, None
        yield 0, 'cut'
        raise KeyboardInterrupt

    monkeypatch.setattr(TOOL, 'check_videos', interrupted)
    monkeypatch.chdir(tmp_path)
    assert TOOL.main(['list.txt']) == 130
    assert (tmp_path / 'list_clean.txt.partial').read_text() == 'c.mp4 3\n'
    assert (tmp_path / 'list_bad.txt.partial').read_text() == 'a.mp4\tcut\n'
    assert (tmp_path / 'list_clean.txt').read_text() == 'of another day'
    assert not (tmp_path / 'list_bad.txt').exists()
    out = capsys.readouterr().out
    assert 'interrupted: 2 of 4 videos were not checked' in out
    assert '1 of 2 videos are readable' in out and 'list_clean.txt.partial' in out


def test_a_wrong_backend_is_not_the_videos_fault():
    with pytest.raises(ValueError, match='unknown video backend'):
        list(check_videos(['a.mp4'], CheckSettings(backend='x')))
