"""Names of classes are read as they are published."""

import json

import pytest
from amd_mm.evaluation.label_map import LabelMapError, check_label_map, read_label_map


def test_one_name_a_line(tmp_path):
    path = tmp_path / 'label_map.txt'
    path.write_text('abseiling\nair drumming\n\n')
    assert read_label_map(path) == ['abseiling', 'air drumming']


@pytest.mark.parametrize('content', [['a', 'b'], dict(b='1', a='0'), dict(b=1, a=0)])
def test_json_as_of_something_something(tmp_path, content):
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(content))
    assert read_label_map(path) == ['a', 'b']


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.txt', '', 'is empty'),
        ('a.txt', 'a\n\nb\n', 'name number 2'),
        ('a.json', '{"a": 1, "b": 2}', 'labels 0 to 1'),
        ('a.json', '{"a": 0, "b": 0}', 'each once'),
        ('a.json', '{"a": "x"}', 'labels 0 to 0'),
        ('a.json', '{', 'no JSON'),
        ('a.json', '3', 'list of names'),
    ],
)
def test_says_what_is_wrong_with_which_file(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(LabelMapError, match=message) as error:
        read_label_map(path)
    assert str(path) in str(error.value)


def test_a_missing_file_and_a_wrong_number_of_names(tmp_path):
    with pytest.raises(LabelMapError, match='none.txt'):
        read_label_map(tmp_path / 'none.txt')
    check_label_map(['a', 'b'], 2, 'x.txt')
    with pytest.raises(LabelMapError, match='x.txt has 2 names.*tells 3'):
        check_label_map(['a', 'b'], 3, 'x.txt')
