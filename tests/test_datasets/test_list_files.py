"""List files: what is understood, and what is said when it is not."""

import string

import pytest
from amd_mm.datasets import read_list_file
from amd_mm.datasets.list_files import find_named, parse_line
from amd_mm.errors import VideoError
from hypothesis import given
from hypothesis import strategies as st


def write(folder, text, encoding='utf-8'):
    path = folder / 'list.txt'
    path.write_bytes(text.encode(encoding))
    return str(path)


def read(folder, text, **options):
    entries = read_list_file(write(folder, text), **options)
    return [(entry.name, entry.counts, entry.labels) for entry in entries]


@pytest.mark.parametrize('line, options, expected', [
    ('a/b.mp4 3', {}, ('a/b.mp4', (), (3, ))),
    ('a/b.mp4', {}, ('a/b.mp4', (), ())),
    ('a/b.mp4\t3', {}, ('a/b.mp4', (), (3, ))),
    ('my  old clip 7.mp4 3', {}, ('my  old clip 7.mp4', (), (3, ))),
    ('my clip 7.mp4', {}, ('my clip 7.mp4', (), ())),
    ('#20_Rhythm_clap.avi 0', {}, ('#20_Rhythm_clap.avi', (), (0, ))),
    ('a.mp4 -1', {}, ('a.mp4', (), (-1, ))),
    ('a, b.mp4,3', dict(delimiter=','), ('a, b.mp4', (), (3, ))),
    ('a, b.mp4', dict(delimiter=','), ('a, b.mp4', (), ())),
    ('clip 5', dict(delimiter=','), ('clip 5', (), ())),
    ('a.mp4 1 3 5', dict(multi_class=True, num_classes=6),
     ('a.mp4', (), (1, 3, 5))),
    ('my dir 163 2', dict(num_counts=1), ('my dir', (163, ), (2, ))),
    ('my dir 163', dict(num_counts=1), ('my dir', (163, ), ())),
    ('dir 4;163', dict(num_counts=1, delimiter=';'), ('dir 4', (163, ), ())),
    ('dir 12 163 3', dict(num_counts=2), ('dir', (12, 163), (3, ))),
    ('dir 163 1 3', dict(num_counts=1, multi_class=True, num_classes=4),
     ('dir', (163, ), (1, 3))),
])  # yapf: disable
def test_lines(tmp_path, line, options, expected):
    assert read(tmp_path, line + '\n', **options) == [expected]


@pytest.mark.parametrize('text, options, says', [
    ('a.mp4 1\n\nb.mp4 x3\n', {}, ['line 3', 'b.mp4 x3', "'x3'"]),
    ('a.mp4 walking dog\n', {}, ["'a.mp4'", "'walking dog'"]),
    ('my a.mp4 3 4\n', {}, ["'my a.mp4'", "not an integer label", "'3 4'"]),
    ('a.mp4,3\n', {}, ["separated by ' '", "',3'"]),
    ('a.JPG 1 x 3\n', dict(multi_class=True, num_classes=5), ["'1 x 3'"]),
    ('a.avi 5 120 3\n', dict(num_counts=1), ["'a.avi'"]),
    ('a.mp4 1\nb.mp4\n', {}, ['line 2', 'no label', 'line 1']),
    ('a.mp4 1\nb.mp4 -2\n', {}, ['line 2', '-2 is negative']),
    ('a.mp4 1\nb.mp4 5\n', dict(num_classes=5), ['line 2', 'num_classes=5', 'count from 1']),
    ('a.mp4 walking\n', {}, ["'walking'", '`classes`']),
    ('a.mp4\n', dict(multi_class=True, num_classes=5), ['line 1', 'multi']),
    ('a.mp4 -1\n', dict(multi_class=True, num_classes=5), ['negative']),
    ('d 5 1\ndir x\n', dict(num_counts=1), ['line 2', 'dir x', 'found 0']),
    ('dir 0 1\n', dict(num_counts=1), ['line 1', 'must be positive']),
    ('dir -3 9 1\n', dict(num_counts=2), ['line 1', 'not be negative']),
    (' 7\nb.mp4 1\n', {}, ['line 2', '7']),
    ('\n \n', {}, ['no entries']),
])  # yapf: disable
def test_wrong_lines_are_shown_with_file_and_number(tmp_path, text, options, says):
    with pytest.raises(VideoError) as error:
        read(tmp_path, text, **options)
    assert 'list.txt' in str(error.value)
    for part in says:
        assert part in str(error.value)


def test_missing_files(tmp_path):
    with pytest.raises(VideoError, match='VideoFolderDataset'):
        read_list_file('')
    with pytest.raises(VideoError, match='nowhere.txt.*no such list file'):
        read_list_file(str(tmp_path / 'nowhere.txt'))
    with pytest.raises(ValueError, match='delimiter is empty'):
        read_list_file('list.txt', delimiter='')


def test_encodings(tmp_path):
    path = write(tmp_path, 'a.mp4 1\r\nb.mp4 2\r\ncaf\u00e9.mp4 3\r\n', encoding='latin-1')
    with pytest.raises(VideoError, match='Save the file as utf-8') as error:
        read_list_file(path)
    assert str(error.value).startswith(f'{path}, line 3: the byte 0xe9')
    # Windows' byte order mark and line ends.
    path = write(tmp_path, '\ufeffä 1.mp4 1\r\n\r\nb.mp4 2\r\n')
    first, second = read_list_file(path)
    assert (first.name, first.line_number) == ('ä 1.mp4', 1)
    assert (second.labels, second.line_number, second.line) == ((2,), 3, 'b.mp4 2')


@pytest.mark.parametrize('line, options, expected', [
    ('a.mp4 dog', {}, ('a.mp4', (), (1, ))),
    ('walking dog.mp4\twalking the dog', {}, ('walking dog.mp4', (), (2, ))),
    ('a.mp4 0', {}, ('a.mp4', (), (0, ))),
    ('a, b.mp4,walking the dog', dict(delimiter=','), ('a, b.mp4', (), (2, ))),
    ('my dir 163 cat', dict(num_counts=1), ('my dir', (163, ), (0, ))),
    ('a.mp4 walking the dog cat dog', dict(multi_class=True, num_classes=3),
     ('a.mp4', (), (2, 0, 1))),
])  # yapf: disable
def test_names_of_classes(tmp_path, line, options, expected):
    classes = ('cat', 'dog', 'walking the dog')
    assert read(tmp_path, line, classes=classes, **options) == [expected]
    assert read(tmp_path, 'a.mp4 1', classes=('2', '1', '0')) == [('a.mp4', (), (1,))]
    with pytest.raises(VideoError, match='line 1.*walking the dig'):
        read(tmp_path, 'a.mp4 walking the dig', classes=classes)


def test_samples_that_are_there_twice(tmp_path, capsys):
    assert len(read(tmp_path, 'a.mp4 1\nb.mp4 0\na.mp4 1\n')) == 3
    assert '1 of 3 lines name a sample again, as line 3 that of line 1\n' in capsys.readouterr().out
    read(tmp_path, 'a.mp4 1\na.mp4 0\n')
    assert 'line 1, with another label' in capsys.readouterr().out
    read(tmp_path, 'd 0 8 1\nd 8 8 1\n', num_counts=2)  # parts of one folder
    assert 'again' not in capsys.readouterr().out


def test_names_from_other_systems(tmp_path):
    names = ('caf\u00e9.mp4', 'e\u0301.mp4', 'a b/c.mp4', '100%:x.mp4', "-it's.mp4", 'back\\x.mp4')
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = str(tmp_path)
    for name in names:
        assert find_named(folder, name) == f'{folder}/{name}'
        assert find_named('elsewhere', f'{folder}/{name}') == f'{folder}/{name}'
    for listed, name in (
        ('cafe\u0301.mp4', names[0]),
        ('\u00e9.mp4', names[1]),
        ('a b\\c.mp4', names[2]),
        ('gone\\c.mp4', 'gone\\c.mp4'),
    ):
        assert find_named(folder, listed) == f'{folder}/{name}'


WORDS = st.text(string.ascii_letters + string.digits + '_-/#.', min_size=1)
NAMES = st.lists(WORDS, min_size=1, max_size=4).map(lambda words: ' '.join(words) + '.mp4')


@given(
    name=NAMES,
    counts=st.lists(st.integers(1, 10**6), max_size=2),
    labels=st.lists(st.integers(0, 10**4), min_size=1, max_size=4),
    delimiter=st.sampled_from([' ', ',', ';', '\t', '::']),
)
def test_any_line_comes_apart_again(name, counts, labels, delimiter):
    line = delimiter.join([name, *map(str, counts + labels)])
    result = parse_line(line, delimiter, len(counts), len(labels) > 1)
    assert result == (name, tuple(counts), tuple(labels))


@given(name=NAMES, delimiter=st.sampled_from([' ', ',']))
def test_any_name_without_label_is_a_name(name, delimiter):
    try:
        assert parse_line(name, delimiter, 0, False) == (name, (), ())
    except ValueError as error:
        # 'a.mp4 b.mp4' is a name; 'a.avi x' in it would be a bad label.
        assert 'after the name' in str(error)
