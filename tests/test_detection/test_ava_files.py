"""Annotations, exclusions, label maps and proposals; pickles that would run code."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from amd_mm.datasets.ava_files import (
    plain_lines,
    read_exclusions,
    read_label_map,
    read_proposals,
    scan_annotations,
)
from amd_mm.errors import VideoError

WRONG_LINES = {
    '0,901,.1,.1,.2,.2': '6 fields instead of 8',
    '0,901,,,,,,': 'it has no box',
    '0,9x1,.1,.1,.2,.2,1,0': "timestamp is not a number: '9x1'",
    '0,901.5,.1,.1,.2,.2,1,0': 'timestamp is not a whole number: 901.5',
    '0,901,.1,.1,.2,1.02,1,0': 'not pixels',
    '0,901,.1,.1,.2,b,1,0': "y2 is not a number: 'b'",
    '0,901,.1,.1,.2,inf,1,0': 'y2 is not finite',
    '0,901,10,10,20,20,1,0': 'not pixels',
    '0,901,.3,.1,.2,.2,1,0': 'x1 <= x2',
    '0,901,.1,.1,.2,.2,4,0': 'below num_classes=4',
    '0,901,.1,.1,.2,.2,0,0': 'at least 1',
}


def test_wrong_annotations_are_named(people, tmp_path):
    path = tmp_path / 'wrong.csv'
    path.write_text(Path(people['ann_file']).read_text() + '\n'.join(WRONG_LINES) + '\n')
    found = scan_annotations(str(path), num_classes=4)
    assert found.lines == 18 and len(found.problems) == len(WRONG_LINES)
    for number, (problem, (line, why)) in enumerate(zip(found.problems, WRONG_LINES.items())):
        assert problem.startswith(f'line {19 + number}: ')
        assert why in problem and line in problem
    with pytest.raises(VideoError, match='11 of 29 lines are wrong:\n  line 19: '):
        found.check()
    path.write_text('')
    with pytest.raises(VideoError, match='is empty'):
        scan_annotations(str(path)).check()


@pytest.mark.parametrize(
    'text',
    [
        'v,902,0.1,0,0.2,1,3,7\n',
        '\ufeffvideo,timestamp,x1,y1,x2,y2,label,person\r\n\r\nv,902,0.1,0,0.2,1,3,7\r\n\r\n',
        'video_id, middle_frame_timestamp,x1,y1,x2,y2,action,person\nv, 902.0,.1,0,.2,1,3.0,7.0\n',
        'v,0902,0.1,-0.0004,0.2,1.0004,3,7',
    ],
)
def test_harmless_differences_of_annotations(tmp_path, text):
    path = tmp_path / 'a.csv'
    path.write_text(text, encoding='utf-8', newline='')
    found = scan_annotations(str(path))
    found.check()
    assert (found.timestamps, dict(found.labels)) == ({'v': {902}}, {3: 1})
    assert list(plain_lines(str(path))) == ['v,902,0.1,0.0,0.2,1.0,3,7']
    # Who the person is does not count.
    for person in (',', ''):
        path.write_text(f'v,902,0.1,0.0,0.2,1.0,3{person}\n')
        assert list(plain_lines(str(path))) == ['v,902,0.1,0.0,0.2,1.0,3,-1']
    with pytest.raises(VideoError, match='a.csv, line 2: x1 is not a number'):
        path.write_text('v,902,0,0,1,1,3,7\nv,902,,0.0,0.2,1.0,3,7\n')
        list(plain_lines(str(path)))


def test_exclusions_and_label_map(people, tmp_path):
    assert read_exclusions(None) == set()
    assert read_exclusions(people['exclude_file']) == {'0,0902', '1,0903'}
    path = tmp_path / 'wrong.csv'
    path.write_text('\ufeffvideo,timestamp\n0,902.0\n\n1, 0903\n\n', encoding='utf-8')
    assert read_exclusions(str(path)) == {'0,0902', '1,0903'}
    path.write_text(Path(people['exclude_file']).read_text() + '1;902\n')
    with pytest.raises(VideoError, match='line 3'):
        read_exclusions(str(path))
    path.write_text(Path(people['label_file']).read_text().replace('name', 'title'))
    with pytest.raises(VideoError, match='has no label: an item needs'):
        read_label_map(str(path))
    names = read_label_map(people['label_file'], 4)
    assert names == {1: 'stand', 2: 'walk', 3: 'jump'}
    with pytest.raises(VideoError, match='has the label 3, but num_classes=3.* set num_classes=4'):
        read_label_map(people['label_file'], 3)


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ('ran',)


@pytest.mark.parametrize(
    'content, problem',
    [
        ([1, 2], 'it holds a list'),
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
        'c,902.0': np.array([[-0.005, 0, 1.005, 1, 0.9]], np.float32),
    }
    path = tmp_path / 'boxes.pkl'
    path.write_bytes(pickle.dumps(boxes, protocol=protocol))
    found = read_proposals(str(path))
    assert set(found) == {'a,0901', 'c,0902'}
    np.testing.assert_array_equal(found['a,0901'], boxes['a,0901'])
    np.testing.assert_allclose(found['c,0902'], [[0, 0, 1, 1, 0.9]])
