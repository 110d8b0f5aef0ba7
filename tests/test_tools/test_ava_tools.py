"""tools/data/ava: boxes to proposals, and the validator."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from amd_mm.datasets.ava_files import read_proposals, write_proposals

from ..test_detection.people import make_people
from .tool_scripts import load_tool

CSV = load_tool('data/ava/csv_to_proposals')
AIA = load_tool('data/ava/aia_to_proposals')
VALIDATE = load_tool('data/ava/validate')

# As published: https://github.com/facebookresearch/SlowFast/issues/390
FAIR = (
    '1j20qq1JyX4,0902,0.036,0.098,0.550,0.979,,0.995518\n'
    '1j20qq1JyX4,0902,0.5,0.1,0.9,0.8,12,0.9981\n'
    '1j20qq1JyX4,0902,0.5,0.1,0.9,0.8,80,0.9981\n'
    '-5KQ66BBWC4,0903,0,0,1.004,1,,0.3\n'
)


def convert(tmp_path, text, *options):
    """Convert a csv; exit code and what was written."""
    path, out = tmp_path / 'boxes.csv', tmp_path / 'made' / 'proposals.pkl'
    path.write_text(text)
    code = CSV.main([str(path), str(out), *options])
    return code, pickle.loads(out.read_bytes()) if out.exists() else None


def test_a_file_as_fair_writes_it(tmp_path, capsys):
    code, made = convert(tmp_path, FAIR)
    assert code == 0 and type(made) is dict
    assert set(made) == {'1j20qq1JyX4,0902', '-5KQ66BBWC4,0903'}
    # The box that is there for two actions once; the best first.
    boxes = made['1j20qq1JyX4,0902']
    assert type(boxes) is np.ndarray and boxes.dtype == np.float64
    np.testing.assert_allclose(
        boxes, [[0.5, 0.1, 0.9, 0.8, 0.9981], [0.036, 0.098, 0.55, 0.979, 0.995518]]
    )
    # A detector's small overshoot is cut off.
    np.testing.assert_allclose(made['-5KQ66BBWC4,0903'], [[0, 0, 1, 1, 0.3]])
    out = capsys.readouterr().out
    assert '3 boxes of 2 frames' in out and '1 repeated' in out
    assert [path.name for path in (tmp_path / 'made').iterdir()] == ['proposals.pkl']


@pytest.mark.parametrize(
    'text, options',
    [
        ('a b,7,64,24,320,120,.5\n', ('--size', '640x240')),
        ('a b.mp4,7.0,.1,.1,.5,.5,.5\n', ()),
        ('\ufeffvideo,timestamp,Score,x1,y1,x2,y2,id\n\na b,007,.5,.1,.1,.5,.5,9\n', ()),
        ('video,timestamp,x1,y1,x2,y2,width,height,score\na b,7,64,24,320,120,640,240,.5\n', ()),
    ],
)
def test_other_columns(tmp_path, text, options):
    code, made = convert(tmp_path, text, *options)
    assert code == 0 and list(made) == ['a b,0007']
    np.testing.assert_allclose(made['a b,0007'], [[0.1, 0.1, 0.5, 0.5, 0.5]])


def test_boxes_without_confidence(tmp_path):
    code, made = convert(tmp_path, 'a,7,.2,.1,.5,.5\na,7,.1,.1,.5,.6\n')
    assert code == 0
    np.testing.assert_allclose(made['a,0007'], [[0.2, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.6]])


@pytest.mark.parametrize(
    'text, options, said',
    [
        (
            'a,7,.1,.1,.5,.5,.9\na,7.5,.1,.1,.5,.5,.9\n',
            (),
            'boxes.csv: 1 of 2 lines are wrong:\n  line 2: timestamp is not a whole '
            'number: 7.5\n    a,7.5',
        ),
        ('a,7,64,24,320,120,.5\n', (), 'line 1: values from 0.5 to 320; corners are relative'),
        ('a,7,.1,.1,.5,.5,.5\n', ('--size', '200x200'), 'relative to the frame already'),
        ('a,7,.1,.1,.5,nan,.5\n', (), 'line 1: y2 is not finite'),
        ('a,7,.1,.1,.5,.5,.9\na,7,.1,.1,.5,.5\n', (), 'line 2: it has 6 fields instead of 7'),
        ('a;7;.1;.1;.5;.5;.9\n', (), 'line 1: 1 columns. Begin with a header'),
        ('video,timestamp,x1,y1,w,h,score\na,7,0,0,1,1,1\n', (), 'lacks x2, y2'),
        ('video,timestamp,x1,y1,x2,y2,width\na,7,0,0,1,1,1\n', (), 'lacks height'),
        ('\n', (), 'has no boxes'),
    ],
)
def test_wrong_csv(tmp_path, capsys, text, options, said):
    assert convert(tmp_path, text, *options) == (2, None)
    assert said in capsys.readouterr().err


def test_wrong_calls(tmp_path, capsys):
    assert CSV.main([str(tmp_path / 'no.csv'), 'x.pkl']) == 2
    assert 'no.csv' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        CSV.parse_args(['a', 'b', '--size', '640'])
    assert 'not a size such as 1280x720' in capsys.readouterr().err


# -- AIA --------------------------------------------------------------------


def aia(tmp_path, boxes, images):
    paths = [tmp_path / name for name in ('boxes.json', 'images.json', 'p.pkl')]
    for path, content in zip(paths, (boxes, images)):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    code = AIA.main([str(paths[0]), '--images', str(paths[1]), '--out', str(paths[2])])
    return code, read_proposals(paths[2]) if paths[2].exists() else None


IMAGES = dict(images=[dict(id=30902, movie='abc', timestamp=902, width=640, height=240)])


def test_aia(tmp_path, capsys):
    boxes = [
        dict(image_id=30902, bbox=[64, 24, 256, 96], score=0.7, category_id=1),
        dict(image_id=30902, bbox=[0, 0, 641, 240], score=0.9, category_id=1),
        dict(image_id=99, bbox=[0, 0, 1, 1], score=0.9, category_id=1),
    ]
    code, made = aia(tmp_path, boxes, IMAGES)
    assert code == 0 and list(made) == ['abc,0902']
    np.testing.assert_allclose(made['abc,0902'], [[0, 0, 1, 1, 0.9], [0.1, 0.1, 0.5, 0.5, 0.7]])
    out = capsys.readouterr().out
    assert '1 boxes of frames that are not in' in out
    assert '2 boxes of 1 frames' in out


def test_wrong_aia(tmp_path, capsys):
    box = dict(image_id=30902, bbox=[0, 0, 1, 1], score=0.9)
    for boxes, images, said in (
        ('[', IMAGES, 'boxes.json is not a json'),
        ([box], [], 'images.json does not describe key frames'),
        ([box], dict(images=[dict(id=1)]), "KeyError: 'movie'"),
        ([dict(box, image_id=7)], IMAGES, 'has no box of a frame'),
        ([box, dict(box, bbox=[0, 0, 1])], IMAGES, 'box number 1 is wrong'),
        ([dict(box, bbox=[0, 0, 900, 9])], IMAGES, 'box number 0 is wrong'),
    ):
        assert aia(tmp_path, boxes, images) == (2, None)
        assert said in capsys.readouterr().err


# -- validator: the checks themselves are tested in test_detection/test_ava_dataset.py ---------


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    return make_people(tmp_path_factory.mktemp('ava') / 'set', videos=2)


@pytest.fixture
def people(made, tmp_path):
    """A copy of the files, and the folders, not to be changed."""
    files = {name: str(shutil.copy(made[name], tmp_path)) for name in made if '_file' in name}
    return {**made, **files}


def validate(people, *options, media='--videos', folder=None):
    numbers = [
        '--num-classes',
        '4',
        '--timestamps',
        '901',
        '903',
        '--shown',
        '900',
        '904',
        '--fps',
        '10',
    ]
    return VALIDATE.main(
        [
            people['ann_file'],
            *('--labels', people['label_file']),
            *('--exclude', people['exclude_file']),
            *('--proposals', people['proposal_file']),
            *(media, str(folder or people[media[2:]])),
            *numbers,
            *options,
        ]
    )


@pytest.mark.parametrize('media', ['--videos', '--frames'])
def test_a_good_set(people, capsys, tmp_path, media):
    assert validate(people, '--strict', media=media) == 0
    out = capsys.readouterr().out
    assert '12 lines, 2 videos, 6 frames, 3 actions' in out
    assert '2 frames, 2 of them annotated' in out
    assert '18 boxes in 6 frames' in out
    assert 'looked for 2 videos, and into 2 of them' in out
    assert '0 errors, 0 warnings' in out
    assert validate(people, media=media, folder=tmp_path / 'no') == 1
    assert 'The folder has: nothing' in capsys.readouterr().out


def edit(path, old, new):
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def test_lines_that_are_wrong(people, capsys):
    with open(people['ann_file'], 'a') as file:
        file.write('0,0905,.1,.1,.5,.5,1,0\n0,0901,.1,.1,.5,.5,4,0\n0,0901,.1,.1,50,.5,1,0\nx\n')
    edit(people['exclude_file'], '0,902', '0;902')
    Path(people['proposal_file']).write_bytes(b'no pickle')
    assert validate(people, '--show', '2') == 1
    out = capsys.readouterr().out
    assert '3 lines are wrong' in out and '4 errors' in out
    assert 'line 14: the label must be at least 1 and below' in out
    assert 'line 15: the box is not' in out and 'line 16' not in out
    assert "1 frames are not at 901 to 903 s (--timestamps): '0,0905'" in out
    assert 'line 1: it is not `video,timestamp`' in out
    assert 'is not a file of proposals' in out
    assert 'were not compared' in out
    people['ann_file'] = 'no.csv'
    assert validate(people) == 2
    assert 'no.csv' in capsys.readouterr().err


def test_warnings(people, capsys):
    edit(people['label_file'], 'id: 3', 'id: 0')
    proposals = read_proposals(people['proposal_file'])
    del proposals['0,0901']
    proposals['1,0902'][:, 4] = 0.5
    write_proposals(people['proposal_file'], proposals)
    Path(people['exclude_file']).write_text('other,902\n')
    assert validate(people) == 0
    out = capsys.readouterr().out
    assert '0 errors, 4 warnings' in out
    assert 'labels 3 of' in out
    assert "have no proposals; the whole image is their box: '0,0901'" in out
    assert 'have no proposal of confidence 0.8' in out and "'1,0902'" in out
    assert "is of other videos: 'other'" in out
    assert validate(people, '--strict') == 1


def test_all_folders_are_looked_into(people, capsys, tmp_path, monkeypatch):
    shutil.copytree(people['frames'], tmp_path / 'frames')
    # Of the last annotated second of the second folder.
    (tmp_path / 'frames/1/img_00021.jpg').unlink()
    monkeypatch.setattr(VALIDATE.CheckedAVADataset, 'folders_to_try', 1)
    call = dict(media='--frames', folder=tmp_path / 'frames')
    assert validate(people, '--strict', **call) == 0
    assert '(--all: into all)' in capsys.readouterr().out
    assert validate(people, '--strict', '--all', **call) == 1
    assert 'img_00021.jpg' in capsys.readouterr().out


def test_kinetics(tmp_path, capsys):
    """The times of a clip are in its name."""
    path = tmp_path / 'a.csv'
    path.write_text(
        '-5KQ66BBWC4,0902,.1,.1,.5,.5,1,0\no3lCwWyyc_s_000012_000022,17,.1,.1,.5,.5,2,-1\n'
    )
    boxes = np.full((1, 5), 0.9)
    write_proposals(tmp_path / 'p.pkl', {'-5KQ66BBWC4,0902': boxes, 'o3lCwWyyc_s,0017': boxes})
    call = [str(path), '--proposals', str(tmp_path / 'p.pkl'), '--strict']
    assert VALIDATE.main([*call, '--kinetics']) == 0
    assert VALIDATE.main(call) == 1
    capsys.readouterr()
    path.write_text(path.read_text().replace(',17,', ',27,'))
    assert VALIDATE.main([*call[:1], '--kinetics']) == 1
    assert 'outside of the time' in capsys.readouterr().out
