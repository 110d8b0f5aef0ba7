"""What the datasets of this package share: replacement and bookkeeping."""

import contextlib
import traceback
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from .sampling import SampleKey, seeded_randomness
from .video_reader import UnreadableVideoError, blames_file, describe_error

if TYPE_CHECKING:  # what the mixin is mixed into
    from mmaction.datasets import BaseActionDataset as _Host
else:
    _Host = object


def _blames_video(error: Exception) -> bool:
    """Whether a foreign transform failed because of the video.

    That is so for errors of the operating system about a file, and for what
    is raised inside the packages that stock decoders use. Anything else is a
    mistake in the pipeline and must be seen.
    """
    if isinstance(error, OSError):
        return blames_file(error)
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    # PyAV has its own error classes, decord raises RuntimeError as well.
    origins = (type(error).__module__, frame.f_globals.get('__name__') or '')
    return any(name.split('.')[0] in ('decord', 'av') for name in origins)


def as_list(packed: Any) -> list:
    """The samples of a pipeline's result: itself, or the views of a clip."""
    return packed if isinstance(packed, list) else [packed]


class ReplaceUnreadableMixin(_Host):
    """Replaces videos that cannot be read, and says so in each sample.

    To stand before a ``BaseActionDataset`` among the base classes.

    - In training, a sample whose video cannot be read is replaced by another
      one, drawn at random from those not yet tried, at most ``max_refetch``
      times in a row. In test mode the error is raised: a missing prediction
      must not be filled with another video's.
    - Every packed sample's ``data_samples`` gets the metainfo ``filename``
      (video or frame folder), ``sample_index`` (the index that was read),
      ``epoch`` (-1 when the sampler does not tell), ``view`` (among the
      views of one clip) and ``unreadable``: a list of (path, reason) of what
      was met on the way. No ``meta_keys`` have to be given for these.
    - Indexed by a :class:`~amd_mm.datasets.SampleKey` (from
      ``EpochSeededSampler``) a sample depends only on seed, epoch and
      index; indexed by a plain int it draws from the ambient generators, as
      stock datasets do.
    """

    # Given to BaseDataset by the classes that use the mixin.
    max_refetch: int

    def __getitem__(self, idx: int) -> Any:
        """A packed sample, or the list of views of one clip.

        Args:
            idx (int): A plain index or a ``SampleKey``.

        Returns:
            dict or list[dict]: What the pipeline makes of it.

        Raises:
            UnreadableVideoError: In test mode, for an unreadable video.
            RuntimeError: ``max_refetch`` replacements in a row, or all
                samples, were unreadable; the message names them.
        """
        if not self._fully_initialized:
            self.full_init()
        if not -len(self) <= idx < len(self):
            raise IndexError(f'index {int(idx)} is outside the dataset of {len(self)} samples')
        index = int(idx) % len(self)
        tried, unreadable = [], []
        for attempt in range(self.max_refetch + 1):
            tried.append(index)
            with self._randomness(idx, attempt):
                try:
                    packed = self.prepare_data(index)
                except UnreadableVideoError as error:
                    if self.test_mode:
                        raise
                    unreadable.append((error.path, error.reason))
                else:
                    self._set_metainfo(
                        packed, epoch=getattr(idx, 'epoch', -1), unreadable=unreadable
                    )
                    return packed
                another = self._another_index(tried)
            if another is None:
                break
            index = another
        raise RuntimeError(self._too_many(unreadable))

    def prepare_data(self, idx: int) -> Any:
        """Read one sample and run the pipeline, without replacement.

        Args:
            idx (int): The index to read.

        Returns:
            dict or list[dict]: What the pipeline makes of it.

        Raises:
            UnreadableVideoError: The video cannot be read, or the pipeline
                gave None.
        """
        info = self.get_data_info(int(idx))
        name = next((info[key] for key in ('filename', 'frame_dir', 'img_path') if key in info), '')
        try:
            packed = self.pipeline(info)
        except UnreadableVideoError:
            raise
        except Exception as error:
            if not _blames_video(error):
                raise
            raise UnreadableVideoError(name, describe_error(error)) from error
        finally:
            # A transform between opening and decoding may have failed.
            reader = info.get('video_reader')
            if hasattr(reader, 'close'):
                reader.close()
        if packed is None:
            raise UnreadableVideoError(name, 'a transform of the pipeline gave None for it')
        for view, sample in enumerate(as_list(packed)):
            self._set_metainfo(sample, filename=name, sample_index=int(idx), view=view)
        return packed

    @staticmethod
    def _set_metainfo(packed: Any, **metainfo: Any) -> None:
        """Note something on each packed sample (others have no place)."""
        for sample in as_list(packed):
            if isinstance(sample, dict) and 'data_samples' in sample:
                sample['data_samples'].set_metainfo(metainfo)

    @staticmethod
    def _randomness(idx: int, attempt: int) -> AbstractContextManager[None]:
        if isinstance(idx, SampleKey):
            return seeded_randomness(idx.entropy(attempt))
        return contextlib.nullcontext()

    def _another_index(self, tried: list[int]) -> int | None:
        """An index not yet tried, or None when there is none."""
        if len(set(tried)) >= len(self):
            return None
        while True:
            index = int(np.random.randint(len(self)))
            if index not in tried:
                return index

    def _too_many(self, unreadable: list[tuple[str, str]]) -> str:
        shown = '\n'.join(f'    {path}: {reason}' for path, reason in unreadable)
        return (
            f'{len(unreadable)} videos in a row could not be read '
            f'(max_refetch={self.max_refetch}, {len(self)} in the dataset):\n'
            f'{shown}\nCheck data_root and data_prefix, then run '
            '`python tools/check_videos.py` on the folder or list, and train '
            'on the clean list that it writes.'
        )
