"""Exclusions, label maps and proposals; pickles that would run code."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from amd_mm.datasets.ava_files import read_exclusions, read_label_map, read_proposals
from amd_mm.errors import VideoError


def test_exclusions_and_label_map(people, tmp_path):
    assert read_exclusions(None) == set()
    assert read_exclusions(people['exclude_file']) == {'0,0902', '1,0903'}
    path = tmp_path / 'wrong.csv'
    path.write_text(Path(people['exclude_file']).read_text() + '1;902\n')
    with pytest.raises(VideoError, match='line 3'):
        read_exclusions(str(path))
    path.write_text(Path(people['label_file']).read_text().replace('  ', ''))
    with pytest.raises(VideoError, match='indented by two spaces'):
        read_label_map(str(path))


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ('ran',)


@pytest.mark.parametrize(
    'content, problem',
    [
        ([1, 2], 'it holds a list'),
        ({}, 'it holds a dict'),
        ({'a,0901': np.zeros((2, 3))}, r"'a,0901': .*shape \(2, 3\)"),
        ({'a,0901': np.full((1, 4), np.nan)}, 'finite'),
        ({'a,0901': np.array([[10.0, 20, 40, 50]])}, 'not pixels'),
        ({'a,0901': np.array([[0.5, 0.5, 0.2, 0.2, 1]])}, 'x1 > x2'),
        ({'a,0901': RunsCode()}, 'mkdir'),
    ],
)
def test_wrong_proposals(tmp_path, monkeypatch, content, problem):
    monkeypatch.chdir(tmp_path)
    Path('boxes.pkl').write_bytes(pickle.dumps(content))
    with pytest.raises(VideoError, match=problem):
        read_proposals('boxes.pkl')
    assert not Path('ran').exists()


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_proposals_of_any_protocol(tmp_path, protocol):
    boxes = {
        'a,0901': np.random.default_rng(0).random((3, 4)) / 2 + np.array([0, 0, 0.5, 0.5]),
        'b,0901': np.zeros((0, 5)),
        'c,0902': np.array([[-0.005, 0, 1.005, 1, 0.9]], np.float32),
    }
    path = tmp_path / 'boxes.pkl'
    path.write_bytes(pickle.dumps(boxes, protocol=protocol))
    found = read_proposals(str(path))
    assert set(found) == {'a,0901', 'c,0902'}
    assert type(found['a,0901']) is np.ndarray
    np.testing.assert_array_equal(found['a,0901'], boxes['a,0901'])
    np.testing.assert_allclose(found['c,0902'], [[0, 0, 1, 1, 0.9]])
