"""tools/check_videos.py on files of every kind, and on crashing decoders."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from amd_mm.datasets import read_list_file
from mmengine import Config

from ..conftest import REPOSITORY, with_cover
from .tool_scripts import load_tool

TOOL = load_tool('check_videos')
CheckSettings, Outcome, check_videos = TOOL.CheckSettings, TOOL.Outcome, TOOL.check_videos


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
            + ['--picture', str(tmp_path / 'o' / 'summary.png')]
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


def test_files_of_every_kind(tmp_path, make_video, ffmpeg, capsys, monkeypatch):
    """Each file of a folder is named once, with what happens to it."""
    root = tmp_path / 'every'
    plain = make_video(root / 'plain.mp4', frames=20, size=(64, 48))
    for name in ("it's 50%:é.mp4", '-v.mp4', 'e\u0301.mp4', 'x.mp4/inside.mp4'):
        make_video(root / name, frames=20, size=(64, 48))
    with_cover(plain, str(root / 'cover.mp4'), ffmpeg.program)
    with_cover(None, str(root / 'sound.mp4'), ffmpeg.program)
    ffmpeg('-display_rotation', '90', '-i', plain, '-c', 'copy', root / 'turned.mp4')
    late = "setpts='PTS+if(gt(N,10),1/TB,0)'"
    ffmpeg('-i', plain, '-vf', late, '-fps_mode', 'vfr', root / 'uneven.mp4')
    parts = [tmp_path / 'part0.ts', tmp_path / 'part1.ts']
    for part, size in zip(parts, ('48x64', '64x64')):
        ffmpeg('-f', 'lavfi', '-i', f'testsrc=s={size}:d=0.4', '-c:v', 'libx264', part)
    (tmp_path / 'both.ts').write_bytes(b''.join(part.read_bytes() for part in parts))
    ffmpeg('-i', tmp_path / 'both.ts', '-c', 'copy', root / 'sizes.mp4')
    for name in ('.hidden.mp4', '.cache/h.mp4', 'note.txt', 'pic.PNG', 'README', 'void.mp4'):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    (root / 'loop').symlink_to(root)
    (root / 'gone.mp4').symlink_to('nowhere')
    monkeypatch.chdir(tmp_path)
    assert TOOL.main(['every', '--json', 'all.json', '--workers', '2']) == 1
    found = json.loads(Path('all.json').read_text())
    videos = {str(Path(one['path']).relative_to('every')): one for one in found['videos']}
    bad = {name: one['reason'] for name, one in videos.items() if one['reason']}
    assert bad == {
        'gone.mp4': 'no such file',
        'sound.mp4': 'it has no video stream',
        'void.mp4': 'the file is empty',
    }
    for name, remark, size in (
        ('plain.mp4', None, [64, 48]),
        ('x.mp4/inside.mp4', None, [64, 48]),
        ("it's 50%:é.mp4", None, [64, 48]),
        ('-v.mp4', None, [64, 48]),
        ('e\u0301.mp4', None, [64, 48]),
        ('cover.mp4', 'cover picture', [64, 48]),
        ('turned.mp4', 'rotated', [48, 64]),
        ('uneven.mp4', 'frame rate varies', [64, 48]),
        ('sizes.mp4', 'change their size', [48, 64]),
    ):
        one = videos[name]
        assert one['size'] == size and one['frames'] == 20, name
        assert [remark in text for text in one['remarks']] == [True] * (remark is not None), name
    others = {kind.partition(':')[0]: sorted(names) for kind, names in found['others'].items()}
    assert others == {
        'hidden files and folders': ['.cache', '.hidden.mp4'],
        'files that end in .txt': ['note.txt'],
        'files that end in nothing': ['README'],
        'images': ['pic.PNG'],
        'folders that are named like a video': ['x.mp4'],
        'links to folders that are searched already': ['loop'],
    }
    out = capsys.readouterr().out
    for name in [*bad, *(names[0] for names in found['others'].values())]:
        assert name in out
    assert Path('every_summary.png').stat().st_size


@pytest.mark.parametrize('options', [['--full'], ['--backend', 'decord']])
def test_options(folder, check, options):
    if 'decord' in options:
        pytest.importorskip('decord')
    code, clean, bad, _ = check(folder, *options, '--min-frames', 1)
    assert (code, len(clean), len(bad)) == (1, 3, 3)


@pytest.mark.parametrize('name', ['k400', 'sthv2', 'folder'])
def test_defaults_are_those_of_pretraining(name):
    base = REPOSITORY / 'configs' / '_base_' / 'datasets' / f'{name}.py'
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


def test_wrong_calls(tmp_path, folder, check, monkeypatch, capfd):
    (tmp_path / 'list.txt').write_text('a.mp4 x')
    assert 'line 1' in check(tmp_path / 'list.txt')[3]
    assert 'no such list file' in check(tmp_path / 'nowhere')[3]
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'a.jpg').touch()
    assert 'no videos in' in check(tmp_path / 'images')[3]
    assert 'must be positive' in check(folder, '--timeout', '0')[3]
    # Outputs are tried before the videos are checked.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TOOL, 'check', None)
    for options, says in (
        (['--out', 'x', '--bad', 'x'], 'must be files'),
        (['--out', 'list.txt/x'], "'list.txt'"),
        (['--bad', str(tmp_path)], f'cannot write {tmp_path}'),
        (['--json', 'x', '--picture', 'x'], 'must be files'),
        (['--picture', 'x.txt'], '.png'),
    ):
        assert TOOL.main([str(folder), *options]) == 2
        assert says in capfd.readouterr().err
    with pytest.raises(ValueError, match='unknown video backend'):
        list(check_videos(['a.mp4'], CheckSettings(backend='x')))


def test_names_that_are_not_utf8(tmp_path, make_video, monkeypatch):
    make_video(tmp_path / 'v' / 'a.mp4')
    try:
        (tmp_path / 'v' / os.fsdecode(b'caf\xe9.mp4')).write_bytes(b'x')
    except OSError:
        pytest.skip('this file system has UTF-8 names only')
    monkeypatch.chdir(tmp_path)
    clean, bad = tmp_path / 'clean', tmp_path / 'bad'
    assert TOOL.main([str(tmp_path / 'v'), '--out', str(clean), '--bad', str(bad)]) == 1
    # The clean list can be read, the bad list has the name as it is.
    assert [entry.name for entry in read_list_file(str(clean))] == ['a.mp4']
    path, reason = bad.read_bytes().split(b'\t')
    assert path.endswith(b'/caf\xe9.mp4') and reason.startswith(b'its name is not utf-8')


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
    return Outcome(None if 'good' in path else path)


def test_a_decoder_may_crash_or_hang(monkeypatch):
    monkeypatch.setattr(TOOL, 'check_video', misbehave)
    expected = {
        'good1': None,
        'crash': 'the decoder crashed on it (signal 9)',
        'good2': None,
        'hang': 'decoding took longer than 2 s',
        'exit': 'the decoder crashed on it (exit code 3)',
        'bad': 'bad',
        'good ctrl-c': None,  # reaches all processes, and is not a crash
        'good3': None,
    }
    for workers in (1, 3):
        found = dict(check_videos(list(expected), CheckSettings(timeout=2), workers))
        assert [found[index].reason for index in range(8)] == list(expected.values())


def test_ctrl_c_keeps_the_results(tmp_path, monkeypatch, capsys):
    (tmp_path / 'list.txt').write_text('a.mp4 1\nb.mp4 2\nc.mp4 3\nd.mp4 4')

    def interrupted(paths, settings, workers):
        yield 2, Outcome(None)
        yield 0, Outcome('cut')
        raise KeyboardInterrupt

    monkeypatch.setattr(TOOL, 'check_videos', interrupted)
    monkeypatch.chdir(tmp_path)
    assert TOOL.main(['list.txt']) == 130
    assert (tmp_path / 'list_clean.txt.partial').read_text() == 'c.mp4 3\n'
    assert (tmp_path / 'list_bad.txt.partial').read_text() == 'a.mp4\tcut\n'
    assert not (tmp_path / 'list_clean.txt').exists()
    out = capsys.readouterr().out
    assert 'interrupted: 2 of 4 videos were not checked' in out
    assert '1 of 2 videos are readable' in out and 'list_clean.txt.partial' in out
