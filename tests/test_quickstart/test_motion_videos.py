"""Only motion tells the classes apart, and the files are real videos."""

from collections.abc import Callable
from pathlib import Path

import motion_videos
import numpy as np
import pytest
from amd_mm.datasets import open_video, read_list_file
from motion_videos import MOTIONS, NUM_FRAMES, SIDE, render

MIDDLE = NUM_FRAMES // 2


def test_one_frame_says_nothing_about_the_class() -> None:
    """Same seed, same middle frame; and places and sizes stay spread alike."""
    middles = [render(motion, seed=3)[MIDDLE] for motion in MOTIONS]
    assert all(np.array_equal(middles[0], other) for other in middles[1:])
    brightness = {
        motion: np.mean(
            [
                np.abs(
                    render(motion, seed).astype(float)
                    - np.median(render(motion, seed), (1, 2), keepdims=True)
                ).mean((1, 2, 3))
                for seed in range(40)
            ],
            0,
        )
        for motion in ('left', 'grow', 'shrink')
    }
    for curve in brightness.values():
        assert np.allclose(curve, brightness['left'].mean(), rtol=0.2)


@pytest.mark.parametrize(
    'first, second',
    [('left', 'right'), ('up', 'down'), ('clockwise', 'counter-clockwise'), ('grow', 'shrink')],
)
def test_backwards_is_the_opposite_class(first: str, second: str) -> None:
    # A rotation turns back on the circle it came on, from the middle frame.
    one, other = render(first, seed=5), render(second, seed=5)
    for step in range(1, MIDDLE):
        assert np.array_equal(one[MIDDLE + step], other[MIDDLE - step])
    assert not np.array_equal(one[MIDDLE + 3], other[MIDDLE + 3])


def test_shapes_move_where_the_class_says() -> None:
    pace = motion_videos.Pace(speed=4.0, growth=0.1, orbit=10.0, angle=0.0)
    assert pace.shift('left', 2).tolist() == [-8, 0]
    assert pace.shift('down', 2).tolist() == [0, 8]
    # From the rightmost point clockwise is down; y points down.
    assert pace.shift('clockwise', 1)[1] > 0 > pace.shift('counter-clockwise', 1)[1]
    assert pace.swelling('grow', 2) == -pace.swelling('shrink', 2) == 0.2
    assert pace.swelling('left', 2) == 0


def test_files_decode_to_what_was_rendered(tmp_path: Path) -> None:
    frames = render('up', seed=1)
    motion_videos.write_video(tmp_path / 'a.mp4', frames)
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']
    with open_video(str(tmp_path / 'a.mp4')) as reader:
        decoded = np.stack(reader.read(range(len(reader))))
    assert decoded.shape == frames.shape == (NUM_FRAMES, SIDE, SIDE, 3)
    assert np.abs(decoded.astype(float) - frames).mean() < 5


def test_main_writes_folders_and_lists(tmp_path: Path, make_video: Callable, capsys) -> None:
    own = tmp_path / 'own'
    make_video(own / 'deep' / 'my clip.mp4', frames=80, size=(96, 160))
    make_video(own / 'short.avi', frames=5)
    (own / 'broken.mp4').write_bytes(b'no video')
    motion_videos.main(
        [str(tmp_path / 'set'), '--train', '16', '--heldout', '8', '--videos', str(own)]
    )
    folder = tmp_path / 'set'
    entries = read_list_file(str(folder / 'train.txt'), num_classes=8)
    assert [entry.labels for entry in entries] == [(label,) for label in range(8)] * 2
    assert all((folder / entry.name).is_file() for entry in entries)
    assert len(list((folder / 'heldout').iterdir())) == 8
    yours = sorted((folder / 'unlabelled' / 'yours').iterdir())
    sizes = []
    for path in yours:
        with open_video(str(path)) as reader:
            sizes.append((len(reader), *reader.read([0])[0].shape[:2]))
    assert sizes == [(64, 106, 64), (5, 64, 86)]
    assert 'broken.mp4' in capsys.readouterr().out


def test_a_wrong_folder_of_videos_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match='--videos: .*nowhere'):
        motion_videos.main(
            [str(tmp_path), '--train', '1', '--heldout', '1', '--videos', str(tmp_path / 'nowhere')]
        )
