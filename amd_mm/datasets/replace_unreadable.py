"""Datasets that replace videos, folders of frames and images that cannot be read."""

import contextlib
import logging
import pickle
import resource
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.logging import print_log

from ..errors import VideoError
from .samplers import SampleKey, seeded_randomness
from .video_reader import (
    UnreadableVideoError,
    VideoReader,
    describe_error,
    is_out_of_resources,
    printable,
)

if TYPE_CHECKING:  # the methods that the mixin calls
    from mmengine.dataset import BaseDataset as _Host
else:
    _Host = object


class ReplaceUnreadableMixin(_Host):
    """Replaces samples that cannot be read. List it before a dataset derived from MMEngine's.

    - In training, MMEngine's refetching draws another sample, at most ``max_refetch`` times in a
      row and none twice. In test mode the error is raised instead, as a prediction must belong to
      the video that was asked for.
    - The metainfo of every packed sample has ``filename`` (video or folder), ``sample_index``
      (the index that was read), ``epoch`` (-1 if the sampler does not pass it), ``view`` (number
      of the view of a clip) and ``unreadable`` (list of (path, reason) of the samples that it
      replaces). They need no ``meta_keys``.
    - Indexed by a :class:`~amd_mm.datasets.SampleKey`, a sample depends on seed, epoch and index
      only. Indexed by an int, it draws from the global generators, as in other datasets.
    """

    def full_init(self) -> None:
        """Load the data list."""
        raise_open_file_limit()
        super().full_init()

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        """As MMEngine's, without an array for each sample, which takes thrice the memory."""
        data, ends = bytearray(), np.empty(len(self.data_list), np.int64)
        for index, info in enumerate(self.data_list):
            data += pickle.dumps(info, protocol=4)
            ends[index] = len(data)
        self.data_list.clear()
        return np.frombuffer(data, np.uint8), ends

    def __getitem__(self, idx: int) -> Any:
        """A packed sample, or the list of views of a clip.

        Raises:
            UnreadableVideoError: in test mode, for an unreadable sample.
            VideoError: ``max_refetch`` replacements in a row, or all samples, are unreadable.
        """
        index = range(len(self))[idx]
        self._tried: list[int] = []
        self._unreadable: list[tuple[str, str]] = []
        ambient = contextlib.nullcontext()
        try:
            with seeded_randomness(idx.entropy()) if isinstance(idx, SampleKey) else ambient:
                packed = super().__getitem__(index)
        except UnreadableVideoError as error:
            raise UnreadableVideoError(
                error.path,
                f'{error.reason}. Testing does not replace videos: repair the file, or test on the '
                'clean list that `tools/check_videos.py --min-frames 1` writes',
            ) from error
        _set_metainfo(packed, epoch=getattr(idx, 'epoch', -1), unreadable=self._unreadable)
        return packed

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample; None if it is unreadable and not in test mode."""
        info = self.get_data_info(int(idx))
        name = next((info[key] for key in ('filename', 'frame_dir', 'img_path') if key in info), '')
        try:
            packed = self._run_pipeline(info, name)
        except UnreadableVideoError as error:
            if self.test_mode:
                raise
            self._tried.append(int(idx))
            self._unreadable.append((error.path, error.reason or ''))
            return None
        for view, sample in enumerate(packed if isinstance(packed, list) else [packed]):
            _set_metainfo(sample, filename=name, sample_index=int(idx), view=view)
        return packed

    def _run_pipeline(self, info: dict, name: str) -> Any:
        try:
            packed = self.pipeline(info)
        except UnreadableVideoError:
            raise
        except Exception as error:
            if not _is_files_fault(error):
                print_log(f'{printable(name)}: {describe_error(error)}', 'current', logging.ERROR)
                raise
            raise UnreadableVideoError(name, describe_error(error)) from error
        finally:
            # A transform between opening and decoding may have failed.
            if isinstance(info.get('video_reader'), VideoReader):
                info['video_reader'].close()
        if packed is None:
            raise UnreadableVideoError(name, 'a transform of the pipeline returned None for it')
        return packed

    def _rand_another(self) -> int:
        """MMEngine's refetching: an index that was not tried yet."""
        untried = len(self) - len(self._tried)
        if len(self._tried) > self.max_refetch or untried == 0:
            shown = '\n'.join(f'    {path}: {reason}' for path, reason in self._unreadable)
            raise VideoError(
                f'{len(self._tried)} samples in a row could not be read (max_refetch='
                f'{self.max_refetch}, {len(self)} in the dataset):\n{printable(shown)}\n'
                'Check data_root and data_prefix, then run `python tools/check_videos.py` on the '
                'folder or list, and train on the clean list that it writes'
            )
        while True:
            index = int(np.random.randint(len(self)))
            if index not in self._tried:
                return index


def raise_open_file_limit(wanted: int = 65536) -> None:
    """Raise the soft limit of open files (256 on macOS) as far as the hard limit allows.

    Each tensor that a data loader's worker sends is an open file. At the limit, loading hangs or
    fails with "received 0 items of ancdata".
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _is_files_fault(error: Exception) -> bool:
    """Whether a transform of another package failed because of the file.

    True for OSErrors about a file and for errors of decord, PyAV and OpenCV. Other errors are
    mistakes in the pipeline, which must not be hidden.
    """
    if isinstance(error, OSError):
        return not is_out_of_resources(error)
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    origins = (type(error).__module__, frame.f_globals.get('__name__') or '')
    return any(name.split('.')[0] in ('decord', 'av', 'cv2') for name in origins)


def _set_metainfo(packed: Any, **metainfo: Any) -> None:
    for sample in packed if isinstance(packed, list) else [packed]:
        if isinstance(sample, dict) and 'data_samples' in sample:
            sample['data_samples'].set_metainfo(metainfo)
