"""Reports files that could not be read, and stops the run if there are many."""

import logging
from collections.abc import Sequence

from amd_mm.datasets.video_reader import printable
from amd_mm.errors import VideoError
from amd_mm.registry import HOOKS
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner


@HOOKS.register_module()
class UnreadableVideosHook(Hook):
    """Counts the files that the datasets of this package replaced.

    Each file is logged once with the reason: at once if the first process met it, otherwise at the
    end of the epoch. Counts of all processes are logged after an epoch with unreadable files and
    at the end of the run. They start anew when a run is resumed.

    Args:
        max_share: the run stops if a larger share of one process's files is unreadable; from 0
            (none is tolerated) to 1 (never stop).
        min_fetches: files that a process fetches before the share counts.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, max_share: float = 0.05, min_fetches: int = 100) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError(f'max_share is a share from 0 to 1, got {max_share}')
        if min_fetches < 1:
            raise ValueError(f'min_fetches must be at least 1, got {min_fetches}')
        self.max_share, self.min_fetches = max_share, min_fetches
        self.fetched = self.unreadable = self._unreadable_before = 0
        self.reasons: dict[str, str] = {}  # path -> reason, of this process
        self._logged: set[str] = set()

    def before_train_epoch(self, runner: Runner) -> None:
        """Remember the count at the start of the epoch."""
        self._unreadable_before = self.unreadable

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Count the files of a batch.

        Raises:
            VideoError: the share of unreadable files is too large.
        """
        batch = data_batch if isinstance(data_batch, dict) else {}
        for sample in batch.get('data_samples', []):
            if sample.metainfo.get('view', 0) == 0:  # the views of a video are one file
                unreadable = sample.metainfo.get('unreadable', [])
                self.fetched += 1 + len(unreadable)
                self.unreadable += len(unreadable)
                self._log_files(unreadable)
        share = self.unreadable / max(self.fetched, 1)
        if self.fetched >= self.min_fetches and share > self.max_share:
            first = [f'    {path}: {reason}' for path, reason in self.reasons.items()][:5]
            raise VideoError(
                f'{self.unreadable} of {self.fetched} files ({100 * share:.1f} %) could not be '
                f'read, more than max_share={self.max_share}. The first:\n'
                + printable('\n'.join(first))
                + '\nFor videos run `python tools/check_videos.py FOLDER_OR_LIST` with --backend '
                'and --min-frames as in amd_mm.VideoInit, and train on the clean list that it '
                'writes; remove unreadable images. Or raise max_share of UnreadableVideosHook'
            )

    def after_train_epoch(self, runner: Runner) -> None:
        """Log the counts if the epoch had unreadable files."""
        self._log_counts(self.unreadable > self._unreadable_before)

    def after_train(self, runner: Runner) -> None:
        """Log the counts of the run."""
        self._log_counts(True)

    def _log_files(self, unreadable: Sequence[tuple[str, str]]) -> None:
        for path, reason in unreadable:
            self.reasons.setdefault(path, reason)
            if path not in self._logged:
                self._logged.add(path)
                text = printable(f'unreadable file replaced: {path} ({reason})')
                print_log(text, 'current', logging.WARNING)

    def _log_counts(self, wanted: bool) -> None:
        counts = all_gather_object((self.fetched, self.unreadable, self.reasons, wanted))
        if not any(wanted for *_, wanted in counts):
            return
        reasons = {path: why for _, _, reasons, _ in counts for path, why in reasons.items()}
        fetched, unreadable = (sum(count[i] for count in counts) for i in (0, 1))
        self._log_files(list(reasons.items()))  # the other processes have no log file
        print_log(
            f'{unreadable} of {fetched} fetched files could not be read and were replaced '
            f'({100 * unreadable / max(fetched, 1):.2f} %, {len(reasons)} different files)',
            'current',
        )
