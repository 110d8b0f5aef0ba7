"""AVA-style data sets of videos or raw frames, checked before they are used.

MMAction2's data sets take whatever they are given: an annotated frame without
proposals gets the whole picture as its box, a timestamp outside of a video its
last frame. A key that is spelled differently in two files, or a folder that
is one level too deep, then shows as an mAP of 0. Here the files are compared
when the data set is built: what does not meet is counted and named, and if
nothing meets at all that is an error.
"""

import os
import os.path as osp
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from amd_mm.registry import DATASETS
from mmaction.datasets import AVADataset, AVAKineticsDataset
from mmengine.logging import MMLogger

from .ava_files import AVADataError, read_label_map, read_proposals, scan_annotations, some_of
from .replacing import ReplaceUnreadableMixin
from .video_reader import VIDEO_EXTENSIONS, open_video

_SIDE_FILES = ('exclude_file', 'label_file', 'proposal_file')


class CheckedAVAMixin(ReplaceUnreadableMixin):
    """To stand before an AVA data set of MMAction2 among the base classes.

    - Videos as well as raw frames, with ``amd_mm.SampleAVAClip``.
    - Annotations, label map, exclusions, proposals and media are compared at
      the start; see the module. Proposals are read without running what the
      file names.
    - Clips that cannot be read are replaced in training (see
      :class:`ReplaceUnreadableMixin`) and an error in testing.

    Args:
        ann_file (str): Annotations, see :mod:`amd_mm.datasets.ava_files`.
        pipeline (list): Transforms.
        data_root (str): Where all files and folders start. Defaults to
            ``''``.
        data_prefix (dict): ``dict(img=folder)`` of the folders of frames, or
            ``dict(video=folder)`` of the videos, whose names are the video's
            with any ending of ``VIDEO_EXTENSIONS``.
        proposal_file (str, optional): Proposals. None where
            ``amd_mm.GroundTruthProposals`` makes them.
        start_index (int, optional): Number of the first frame in
            ``filename_tmpl``; 1 by default (videos count from 0).
        **parent: What the data set of MMAction2 takes. Unknown names are an
            error.

    Raises:
        AVADataError: If a file is wrong, or files do not meet at all; in test
            mode also if the media of some video is missing.
    """

    # How many videos are looked into; all of them would take minutes.
    folders_to_try = 32
    videos_to_open = 4

    def __init__(
        self,
        ann_file: str,
        pipeline: list,
        data_root: str = '',
        data_prefix: dict = dict(img=''),
        proposal_file: str | None = None,
        start_index: int | None = None,
        **parent: Any,
    ) -> None:
        if ('img' in data_prefix) == ('video' in data_prefix):
            raise ValueError(
                'data_prefix is either dict(img=folder of frame '
                'folders) or dict(video=folder of videos), got '
                f'{dict(data_prefix)}'
            )
        self.reads_videos = 'video' in data_prefix
        if start_index is None:
            start_index = 0 if self.reads_videos else 1
        files: dict[str, Any] = dict(parent, proposal_file=proposal_file)
        # The one for AVA-Kinetics has no defaults for these.
        files.setdefault('exclude_file', None)
        files.setdefault('label_file', None)
        for name in _SIDE_FILES:
            if files.get(name):
                files[name] = osp.join(data_root, files[name])
        # Not by the parent, which would unpickle anything.
        path = files['proposal_file']
        self._proposals = None if path is None else read_proposals(path)
        files['proposal_file'] = None
        super().__init__(
            ann_file=ann_file,
            pipeline=pipeline,
            data_root=data_root,
            data_prefix=dict(data_prefix),
            start_index=start_index,
            **files,
        )
        self.proposal_file, self.proposals = path, self._proposals

    def load_data_list(self) -> list[dict]:
        """Check the annotations, then read them.

        Returns:
            list[dict]: One annotated frame each.

        Raises:
            AVADataError: For lines that are wrong.
        """
        chosen = self.custom_classes
        self._annotations = scan_annotations(self.ann_file, None if chosen else self.num_classes)
        self._annotations.check()
        self._check_labels(set(self._annotations.labels))
        self.data_prefix.setdefault('img', '')  # the parent asks for it
        data_list = super().load_data_list()
        media = self._find_media() if self.reads_videos else {}
        for info in data_list:
            info.setdefault('timestamp_start', self.timestamp_start)
            info.setdefault('timestamp_end', self.timestamp_end)
            seconds = info['timestamp_end'] - info['timestamp_start']
            # Positions from 0; the classes of MMAction2 differ in this.
            info['shot_info'] = (0, seconds * info['fps'])
            if self.reads_videos:
                del info['frame_dir']
                video = info['video_id']
                info['filename'] = media.get(video, osp.join(self.data_prefix['video'], video))
                info['shot_info'] = None
        return data_list

    def _check_labels(self, labels: set[int]) -> None:
        if self.label_file is None:
            return
        known = set(read_label_map(self.label_file))
        if not labels & known:
            raise AVADataError(
                f'none of the labels in {self.ann_file} '
                f'({some_of(labels)}) is in {self.label_file} '
                f'({some_of(known)})'
            )
        if labels - known:
            self._warn(
                f'labels {some_of(labels - known)} of {self.ann_file} '
                f'are not in {self.label_file}: they are learned, but '
                'not counted in the mAP'
            )

    def _find_media(self) -> dict[str, str]:
        """Video id -> path of its file, below ``data_prefix['video']``."""
        folder = self.data_prefix['video']
        wanted = self._annotations.timestamps
        found = {}
        for parent in sorted({osp.dirname(video) for video in wanted}):
            for name in _list(osp.join(folder, parent)):
                stem, ending = osp.splitext(name)
                if ending.lower() in VIDEO_EXTENSIONS:
                    found[osp.join(parent, stem)] = osp.join(folder, parent, name)
        return found

    def filter_data(self) -> list[dict]:
        """Leave the excluded frames out, and compare what is left.

        Returns:
            list[dict]: The frames that are used.

        Raises:
            AVADataError: See the class.
        """
        kept = super().filter_data()
        if not kept:
            raise AVADataError(
                f'no frame is left: all {len(self.data_list)} frames of '
                f'{self.ann_file} are excluded by {self.exclude_file}'
            )
        self._check_timestamps(kept)
        self._check_proposals(kept)
        self._check_media(kept)
        return kept

    def _check_timestamps(self, kept: Sequence[dict]) -> None:
        outside = [
            info['img_key']
            for info in kept
            if not info['timestamp_start'] <= info['timestamp'] <= info['timestamp_end']
        ]
        if outside:
            raise AVADataError(
                f'{len(outside)} of {len(kept)} frames of {self.ann_file} are '
                'outside of the time that the videos show, from '
                f'timestamp_start={self.timestamp_start} to timestamp_end='
                f'{self.timestamp_end} (or what the name of the video says): '
                f'{some_of(outside)}'
            )

    def _check_proposals(self, kept: Sequence[dict]) -> None:
        if self._proposals is None:
            return
        keys = {info['img_key']: self._proposal_key(info['img_key']) for info in kept}
        without = [frame for frame, key in keys.items() if key not in self._proposals]
        if len(without) == len(keys):
            raise AVADataError(
                f'no annotated frame has proposals: {self.ann_file} has '
                f'{some_of(keys.values())}; the file of proposals has '
                f'{some_of(self._proposals)}'
            )
        if without:
            self._warn(
                f'{len(without)} of {len(keys)} frames of {self.ann_file} '
                'have no proposals; the whole picture is their box: '
                f'{some_of(without)}'
            )
        limit = self.person_det_score_thr
        weak = [
            frame
            for frame, key in keys.items()
            if key in self._proposals and _best_confidence(self._proposals[key]) < limit
        ]
        if weak:
            self._warn(
                f'{len(weak)} of {len(keys)} frames have no proposal '
                f'of confidence {limit:g}; the best of each is used: '
                f'{some_of(weak)}'
            )

    def _proposal_key(self, img_key: str) -> str:
        """The key of a frame in the file of proposals."""
        return img_key

    def _check_media(self, kept: Sequence[dict]) -> None:
        ends = _first_and_last(kept)
        folder = self.data_prefix['video' if self.reads_videos else 'img']
        missing = [video for video, (first, _) in ends.items() if not osp.exists(self._path(first))]
        self._report_missing(missing, len(ends), folder)
        there = sorted(set(ends) - set(missing))
        if self.reads_videos:
            bad = self._too_short(ends, _spread(there, self.videos_to_open))
            tried = min(len(there), self.videos_to_open)
        else:
            bad = self._lacking_frames(ends, _spread(there, self.folders_to_try))
            tried = min(len(there), self.folders_to_try)
        if bad and len(bad) == tried:
            raise AVADataError(
                f'none of the {tried} videos looked into has the times that '
                f'{self.ann_file} names:\n  ' + '\n  '.join(bad[:5])
            )
        if bad:
            self._warn(
                f'{len(bad)} of {tried} videos looked into lack times '
                f'that {self.ann_file} names:\n  ' + '\n  '.join(bad[:5])
            )
        boxes = sum(len(info['ann']['gt_bboxes']) for info in kept)
        MMLogger.get_current_instance().info(
            f'{self.ann_file}: {len(ends)} videos ({len(there)} found in '
            f'{folder}), {len(kept)} frames, {boxes} boxes, '
            f'{len(self._annotations.labels)} actions; proposals: '
            + (f'{len(self._proposals)} frames' if self._proposals else 'none')
        )

    def _report_missing(self, missing: list[str], count: int, folder: str) -> None:
        if not missing:
            return
        kind = 'video files' if self.reads_videos else 'folders of frames'
        text = (
            f'{len(missing)} of {count} {kind} that {self.ann_file} names '
            f'are not in {folder!r}: {some_of(missing)}'
        )
        if len(missing) == count:
            raise AVADataError(f'{text}. There is: {some_of(_list(folder)) or "nothing"}')
        if self.test_mode:
            raise AVADataError(
                f'{text}. Testing needs all of them: get them, or test on annotations without them'
            )
        self._warn(f'{text}; they are replaced by others as they come up')

    def _path(self, info: dict) -> str:
        return info['filename' if self.reads_videos else 'frame_dir']

    def _lacking_frames(
        self, ends: dict[str, tuple[dict, dict]], videos: Iterable[str]
    ) -> list[str]:
        """Frames of annotated times that are not in their folders."""
        bad = []
        for video in videos:
            for info in ends[video]:
                position = _position(info)
                # The last time may be the end of the last frame.
                number = min(position, info['shot_info'][1] - 1)
                name = self.filename_tmpl.format(number + self.start_index)
                path = osp.join(self._path(info), name)
                if not osp.exists(path):
                    bad.append(f'{info["img_key"]}: there is no {path}')
                    break
        return bad

    def _too_short(self, ends: dict[str, tuple[dict, dict]], videos: Iterable[str]) -> list[str]:
        """Videos that end before their last annotated time."""
        bad: list[str] = []
        backend = next(
            (one.backend for one in self.pipeline.transforms if hasattr(one, 'backend')), None
        )
        if backend is None:
            return bad
        for video in videos:
            info = ends[video][1]
            with open_video(self._path(info), backend) as reader:
                lasts = len(reader) / reader.avg_fps if reader.avg_fps else 0
            asked = info['timestamp'] - info['timestamp_start']
            if asked > lasts + 1:
                bad.append(
                    f'{info["img_key"]}: {asked} s into '
                    f'{self._path(info)}, which lasts {lasts:.1f} s'
                )
        return bad

    @staticmethod
    def _warn(text: str) -> None:
        MMLogger.get_current_instance().warning(text)


@DATASETS.register_module()
class CheckedAVADataset(CheckedAVAMixin, AVADataset):
    """``mmaction.AVADataset`` with :class:`CheckedAVAMixin`."""


@DATASETS.register_module()
class CheckedAVAKineticsDataset(CheckedAVAMixin, AVAKineticsDataset):
    """``mmaction.AVAKineticsDataset`` with :class:`CheckedAVAMixin`.

    A clip of Kinetics is called ``{video}_{start}_{end}``, with the seconds
    that it shows; its proposals go by the name without these.
    """

    def _proposal_key(self, img_key: str) -> str:
        if len(img_key) == 16:  # as the parent tells AVA from Kinetics
            return img_key
        video, timestamp = img_key.split(',')
        return f'{"_".join(video.split("_")[:-2])},{timestamp}'


def _best_confidence(boxes: np.ndarray) -> float:
    return boxes[:, 4].max() if boxes.shape[1] == 5 else 1.0


def _first_and_last(infos: Sequence[dict]) -> dict[str, tuple[dict, dict]]:
    """Each video's first and last annotated frame."""
    ends: dict[str, tuple[dict, dict]] = {}
    for info in infos:
        first, last = ends.get(info['video_id'], (info, info))
        ends[info['video_id']] = (
            min(first, info, key=lambda one: one['timestamp']),
            max(last, info, key=lambda one: one['timestamp']),
        )
    return ends


def _position(info: dict) -> int:
    """Frames from the beginning of the video to a timestamp."""
    return info['fps'] * (info['timestamp'] - info['timestamp_start'])


def _spread(names: Sequence[str], count: int) -> list[str]:
    """At most so many of the names, evenly spread."""
    if len(names) <= count:
        return list(names)
    return [names[i * len(names) // count] for i in range(count)]


def _list(folder: str) -> list[str]:
    return os.listdir(folder) if osp.isdir(folder) else []
