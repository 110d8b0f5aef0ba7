"""AVA-style datasets of videos or raw frames, checked before they are used.

MMAction2's datasets do not compare their files: an annotated frame without proposals gets the whole
image as its box, a timestamp outside a video its last frame. A key that is spelled differently in
two files, or a folder one level too deep, then shows as an mAP of 0. Here the files are compared
when the dataset is built: mismatches are counted and named, and it is an error if nothing matches.
"""

import functools
import os
import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from amd_mm.registry import DATASETS
from mmaction.datasets import AVADataset, AVAKineticsDataset
from mmengine.logging import MMLogger

from ..errors import VideoError
from .ava_files import (
    plain_copy,
    read_exclusions,
    read_label_map,
    read_proposals,
    scan_annotations,
    some_of,
)
from .replace_unreadable import ReplaceUnreadableMixin
from .video_reader import VIDEO_EXTENSIONS, UnreadableVideoError, open_video

_AVA_TIMES = 900, 1800  # seconds of a film that AVA shows


class CheckedAVAMixin(ReplaceUnreadableMixin):
    """List it before an AVA dataset of MMAction2.

    - It takes videos as well as raw frames, with ``amd_mm.SampleAVAClip``.
    - Annotations, label map, exclusions, proposals and media are compared at the start. Proposals
      are read without running code that the file names.
    - Clips that cannot be read are replaced in training and are an error in testing.

    Args:
        ann_file: annotations, see :mod:`amd_mm.datasets.ava_files`.
        data_root: where all files and folders start.
        data_prefix: ``dict(img=folder)`` of the folders of frames, or ``dict(video=folder)`` of
            the videos, which may have any ending of ``VIDEO_EXTENSIONS``.
        proposal_file: None if ``amd_mm.GroundTruthProposals`` makes the proposals.
        start_index: number of the first frame in ``filename_tmpl``; by default 1, and 0 for
            videos.
        timestamp_start: timestamp at which each video begins. By default AVA's 900 for videos that
            are cut as AVA's are, else 0: for times before 900 or after 1800, or if the first
            video is so long that it is not cut.
        timestamp_end: timestamp at which each video ends; by default AVA's 1800, else the last
            annotated one.
        **host: further arguments of MMAction2's dataset, which rejects unknown names.

    Raises:
        VideoError: a file is wrong, files do not match at all, or, in test mode, media of some
            video are missing.
    """

    # Number of videos that are looked into; all of them would take minutes.
    folders_to_try = 32
    videos_to_open = 4

    ann_file: str  # set by the host's dataset

    def __init__(
        self,
        ann_file: str,
        pipeline: list,
        data_root: str = '',
        data_prefix: dict = dict(img=''),
        proposal_file: str | None = None,
        exclude_file: str | None = None,
        label_file: str | None = None,
        start_index: int | None = None,
        timestamp_start: int | None = None,
        timestamp_end: int | None = None,
        **host: Any,
    ) -> None:
        if ('img' in data_prefix) == ('video' in data_prefix):
            raise ValueError(
                'data_prefix is either dict(img=folder of frame folders) or dict(video=folder of '
                f'videos), got {dict(data_prefix)}'
            )
        self.reads_videos = 'video' in data_prefix
        if start_index is None:
            start_index = 0 if self.reads_videos else 1
        exclude_file, label_file, proposal_file = (
            osp.join(data_root, path) if path else None
            for path in (exclude_file, label_file, proposal_file)
        )
        self._times_are_open = timestamp_start is None and timestamp_end is None
        self._counts_frames = False  # of folders, as no end is given
        # MMAction2's dataset would unpickle anything.
        self._proposals = read_proposals(proposal_file) if proposal_file else None
        super().__init__(
            ann_file=ann_file,
            pipeline=pipeline,
            data_root=data_root,
            data_prefix=dict(data_prefix),
            start_index=start_index,
            proposal_file=None,
            exclude_file=exclude_file,
            label_file=label_file,
            timestamp_start=_AVA_TIMES[0] if timestamp_start is None else timestamp_start,
            timestamp_end=_AVA_TIMES[1] if timestamp_end is None else timestamp_end,
            **host,
        )
        self.proposal_file, self.proposals = proposal_file, self._proposals

    def load_data_list(self) -> list[dict]:
        """Check the annotations, then read them: one item per annotated frame."""
        chosen = self.custom_classes
        self._annotations = scan_annotations(self.ann_file, None if chosen else self.num_classes)
        self._annotations.check()
        self._check_labels(set(self._annotations.labels))
        self.data_prefix.setdefault('img', '')  # MMAction2's dataset reads it
        ann_file = self.ann_file
        with plain_copy(ann_file) as self.ann_file:
            data_list = super().load_data_list()
        self.ann_file = ann_file
        media = self._find_videos() if self.reads_videos else {}
        if self._times_are_open:
            self._choose_times([one for one in data_list if 'timestamp_start' not in one], media)
        count_frames = functools.cache(lambda folder: len(_list(folder)))
        for info in data_list:
            info.setdefault('timestamp_start', self.timestamp_start)
            info.setdefault('timestamp_end', self.timestamp_end)
            length = (info['timestamp_end'] - info['timestamp_start']) * info['fps']
            if self._counts_frames:
                length = max(length, count_frames(info['frame_dir']))
            # Positions from 0; MMAction2's two datasets differ in this.
            info['shot_info'] = (0, length)
            if self.reads_videos:
                del info['frame_dir']
                video = info['video_id']
                info['filename'] = media.get(video, osp.join(self.data_prefix['video'], video))
                info['shot_info'] = None
        return data_list

    def _choose_times(self, data_list: list[dict], media: dict[str, str]) -> None:
        """Whether the videos begin at AVA's 900 s or at 0."""
        times = [info['timestamp'] for info in data_list]
        first, last = min(times, default=_AVA_TIMES[0]), max(times, default=_AVA_TIMES[1])
        is_ava = _AVA_TIMES[0] <= first and last <= _AVA_TIMES[1]
        if is_ava and self._first_duration(media) < last:
            return
        self.timestamp_start, self.timestamp_end = 0, last
        self._counts_frames = not self.reads_videos
        MMLogger.get_current_instance().info(
            f'{self.ann_file} has the times {first} to {last}: they are read as seconds from the '
            'beginning of each video. If videos begin at another time, set timestamp_start'
        )

    def _first_duration(self, media: dict[str, str]) -> float:
        """Seconds of the first video that can be read; 0 for frames."""
        for path in sorted(media.values())[: self.videos_to_open]:
            try:
                with open_video(path) as reader:
                    return reader.duration
            except UnreadableVideoError:
                continue
        return 0

    def _find_videos(self) -> dict[str, str]:
        """Video id -> path of its file."""
        folder = self.data_prefix['video']
        found = {}
        for parent in sorted({osp.dirname(video) for video in self._annotations.timestamps}):
            for name in _list(osp.join(folder, parent)):
                stem, ending = osp.splitext(name)
                if ending.lower() in VIDEO_EXTENSIONS:
                    found[osp.join(parent, stem)] = osp.join(folder, parent, name)
        return found

    def filter_data(self) -> list[dict]:
        """Leave the excluded frames out, and compare the rest with the other files."""
        excluded = read_exclusions(self.exclude_file)
        kept = [info for info in self.data_list if info['img_key'] not in excluded]
        if not kept:
            raise VideoError(
                f'no frame is left: {self.exclude_file} excludes all {len(self.data_list)} frames '
                f'of {self.ann_file}'
            )
        self._check_timestamps(kept)
        self._check_proposals([info['img_key'] for info in kept])
        self._check_media(kept)
        return kept

    def _check_labels(self, labels: set[int]) -> None:
        if self.label_file is None:
            return
        classes = None if self.custom_classes else self.num_classes
        known = set(read_label_map(self.label_file, classes))
        if not labels & known:
            raise VideoError(
                f'none of the labels of {self.ann_file} ({some_of(labels)}) is in '
                f'{self.label_file} ({some_of(known)})'
            )
        if labels - known:
            self._warn(
                f'labels {some_of(labels - known)} of {self.ann_file} are not in '
                f'{self.label_file}: they are learned, but not counted in the mAP'
            )

    def _check_timestamps(self, kept: Sequence[dict]) -> None:
        outside = [
            info['img_key']
            for info in kept
            if not info['timestamp_start'] <= info['timestamp'] <= info['timestamp_end']
        ]
        if outside:
            raise VideoError(
                f'{len(outside)} of {len(kept)} frames of {self.ann_file} are outside of the time '
                f'that the videos show, timestamp_start={self.timestamp_start} to timestamp_end='
                f'{self.timestamp_end} (or the name of the video): {some_of(outside)}'
            )

    def _check_proposals(self, frames: Sequence[str]) -> None:
        if self._proposals is None:
            return
        keys = {frame: self._proposal_key(frame) for frame in frames}
        missing = [frame for frame, key in keys.items() if key not in self._proposals]
        if len(missing) == len(keys):
            raise VideoError(
                f'no annotated frame has proposals: {self.ann_file} has {some_of(keys.values())}; '
                f'the file of proposals has {some_of(self._proposals)}'
            )
        if missing:
            self._warn(
                f'{len(missing)} of {len(keys)} frames of {self.ann_file} have no proposals; the '
                f'whole image is their box: {some_of(missing)}'
            )
        limit = self.person_det_score_thr
        weak = [
            frame
            for frame, key in keys.items()
            if key in self._proposals and _best_confidence(self._proposals[key]) < limit
        ]
        if weak:
            self._warn(
                f'{len(weak)} of {len(keys)} frames have no proposal of confidence {limit:g}; the '
                f'best of each is used: {some_of(weak)}'
            )

    def _proposal_key(self, img_key: str) -> str:
        return img_key

    def _check_media(self, kept: Sequence[dict]) -> None:
        ends = _first_and_last(kept)
        folder = self.data_prefix['video' if self.reads_videos else 'img']
        there = sorted(video for video, (first, _) in ends.items() if osp.exists(self._path(first)))
        self._check_missing(sorted(set(ends) - set(there)), len(ends), folder)
        tried = _spread(there, self.videos_to_open if self.reads_videos else self.folders_to_try)
        look = self._look_into_video if self.reads_videos else self._look_into_frames
        problems = [problem for video in tried for problem in look(*ends[video])]
        if problems:
            text = (
                f'{len(problems)} of {len(tried)} videos looked into lack times that '
                f'{self.ann_file} names:\n  ' + '\n  '.join(problems[:5])
            )
            if len(problems) == len(tried):
                raise VideoError(text)
            self._warn(text)
        boxes = sum(len(info['ann']['gt_bboxes']) for info in kept)
        proposals = f'{len(self._proposals)} frames' if self._proposals else 'none'
        MMLogger.get_current_instance().info(
            f'{self.ann_file}: {len(ends)} videos ({len(there)} found in {folder}), {len(kept)} '
            f'frames, {boxes} boxes, {len(self._annotations.labels)} actions; proposals: '
            f'{proposals}'
        )

    def _check_missing(self, missing: list[str], count: int, folder: str) -> None:
        if not missing:
            return
        kind = 'video files' if self.reads_videos else 'folders of frames'
        text = (
            f'{len(missing)} of {count} {kind} that {self.ann_file} names are not in {folder!r}: '
            f'{some_of(missing)}'
        )
        if len(missing) == count:
            raise VideoError(f'{text}. The folder has: {some_of(_list(folder)) or "nothing"}')
        if self.test_mode:
            raise VideoError(
                f'{text}. Testing needs all of them: get them, or test on annotations without them'
            )
        self._warn(f'{text}; they are replaced by others in training')

    def _path(self, info: dict) -> str:
        return info['filename' if self.reads_videos else 'frame_dir']

    def _look_into_frames(self, first: dict, last: dict) -> list[str]:
        """Name the first annotated time without a frame, or a frame before the first."""
        zeroth = osp.join(self._path(first), self.filename_tmpl.format(0))
        if self.start_index and osp.exists(zeroth):
            return [f'{zeroth} is there: set start_index=0 instead of {self.start_index}']
        for info in (first, last):
            position = info['fps'] * (info['timestamp'] - info['timestamp_start'])
            # The last time may be the end of the last frame.
            number = min(position, info['shot_info'][1] - 1)
            name = self.filename_tmpl.format(number + self.start_index)
            path = osp.join(self._path(info), name)
            if not osp.exists(path):
                return [f'{info["img_key"]}: there is no {path}']
        return []

    def _look_into_video(self, first: dict, last: dict) -> list[str]:
        """Name a video that ends before its last annotated time."""
        backends = [one.backend for one in self.pipeline.transforms if hasattr(one, 'backend')]
        if not backends:
            return []
        try:
            with open_video(self._path(last), backends[0]) as reader:
                duration = reader.duration
        except UnreadableVideoError as error:
            return [f'{last["img_key"]}: {error}']
        asked = last['timestamp'] - last['timestamp_start']
        if asked <= duration + 1:
            return []
        return [
            f'{last["img_key"]}: {asked} s into {self._path(last)}, which lasts {duration:.1f} s'
        ]

    @staticmethod
    def _warn(text: str) -> None:
        MMLogger.get_current_instance().warning(text)


@DATASETS.register_module()
class CheckedAVADataset(CheckedAVAMixin, AVADataset):
    """``mmaction.AVADataset`` with :class:`CheckedAVAMixin`."""


@DATASETS.register_module()
class CheckedAVAKineticsDataset(CheckedAVAMixin, AVAKineticsDataset):
    """``mmaction.AVAKineticsDataset`` with :class:`CheckedAVAMixin`.

    A clip of Kinetics is named ``{video}_{start}_{end}``, with the seconds that it shows; the key
    of its proposals is the name without these.
    """

    def _proposal_key(self, img_key: str) -> str:
        if len(img_key) == 16:  # as MMAction2 tells AVA from Kinetics
            return img_key
        video, timestamp = img_key.split(',')
        return f'{"_".join(video.split("_")[:-2])},{timestamp}'


def _best_confidence(boxes: np.ndarray) -> float:
    return boxes[:, 4].max() if boxes.shape[1] == 5 else 1.0


def _first_and_last(infos: Sequence[dict]) -> dict[str, tuple[dict, dict]]:
    """Each video's first and last annotated frame."""
    ends: dict[str, tuple[dict, dict]] = {}
    for info in sorted(infos, key=lambda one: one['timestamp']):
        first, _ = ends.get(info['video_id'], (info, info))
        ends[info['video_id']] = (first, info)
    return ends


def _spread(names: Sequence[str], count: int) -> list[str]:
    """At most ``count`` names, evenly spread."""
    if len(names) <= count:
        return list(names)
    return [names[i * len(names) // count] for i in range(count)]


def _list(folder: str) -> list[str]:
    return os.listdir(folder) if osp.isdir(folder) else []
