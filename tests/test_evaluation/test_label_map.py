"""Names of classes are read as they are published."""

import json

import pytest
from amd_mm.errors import ConfigError
from amd_mm.evaluation.label_map import read_label_map


def test_one_name_a_line(tmp_path):
    path = tmp_path / 'label_map.txt'
    path.write_text('abseiling\nair drumming\n\n')
    assert read_label_map(path) == read_label_map(path, 2) == ['abseiling', 'air drumming']


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
        ('a.json', '{', 'cannot be read'),
        ('a.json', '3', 'list of names'),
        ('a.txt', 'a\nb\n', 'a.txt has 2 names, .* 3 classes'),
        ('none.txt', None, 'none.txt cannot be read'),
    ],
)
def test_wrong_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message) as error:
        read_label_map(path, 3)
    assert str(path) in str(error.value)
