"""Table and picture of a collection of videos."""

import cv2
from amd_mm.visualization.video_summary import VideoFacts, count_kinds, draw_summary, summarize


def test_counts_and_table(tmp_path):
    videos = [VideoFacts(25 * n, n, (2 * n, 8), 25.0, 'h264') for n in range(1, 21)]
    videos.append(VideoFacts(10, 0.0, (640, 480), 29.97003, 'av1'))
    counts = count_kinds(videos)
    assert counts['codec'] == [('h264', 20), ('av1', 1)]
    assert counts['frames per second'] == [('25', 20), ('29.97', 1)]
    assert len(counts['frame size']) == 9 and counts['frame size'][-1] == ('13 others', 13)
    rows = [line.split() for line in summarize(videos).splitlines()]
    assert ['seconds', '0.0', '10.0', '20.0', '210.0'] in rows
    assert ['frames', '10', '250', '500', '5260'] in rows
    assert ['h264', '20', '95.2', '%'] in rows
    picture = draw_summary(videos, tmp_path / 'x' / 'summary.png', 'all')
    assert cv2.imread(str(picture)).std() > 10
    # One video, and durations that are not known.
    draw_summary(videos[:1], picture, 'one')
    draw_summary(videos[-1:], picture, 'one')
