"""Reports files that could not be read, and stops when there are many."""

from amd_mm.registry import HOOKS
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner


@HOOKS.register_module()
class UnreadableVideosHook(Hook):
    """Counts the videos or images that the datasets had to replace.

    The datasets of :mod:`amd_mm.datasets` note on each sample which files
    could not be read on the way to it (metainfo ``unreadable``). Each such
    file is logged once, with the reason: at once if the first process met
    it, whose log is the one that is kept, and at the end of the epoch if
    another did. When too large a share of what was fetched is unreadable,
    the run stops before it trains on a dataset that is not the one it was
    told to train on. At the end of an epoch in which there were any, and at
    the end of the run, the counts of all processes are logged.

    It looks at what is on the host already and never waits for the device.
    Counts start anew when a run is resumed.

    Args:
        max_share (float): Largest share of unreadable fetches in one
            process, from 0 (none is tolerated) to 1 (never stop). Defaults
            to 0.05.
        min_fetches (int): How many files a process fetches before the share
            is looked at. Defaults to 100.

    Raises:
        ValueError: ``max_share`` is no share, or ``min_fetches`` below 1.
    """

    priority = 'NORMAL'

    def __init__(self, max_share: float = 0.05, min_fetches: int = 100) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError(f'max_share is a share from 0 to 1, got {max_share}')
        if min_fetches < 1:
            raise ValueError(f'min_fetches must be at least 1, got {min_fetches}')
        self.max_share = max_share
        self.min_fetches = min_fetches
        self.fetched = 0
        self.unreadable = 0
        self.reasons: dict[str, str] = {}
        self._named: set[str] = set()
        self._unreadable_before_epoch = 0

    def before_train_epoch(self, runner: Runner) -> None:
        """Remember where the epoch begins.

        Args:
            runner (Runner): The runner.
        """
        self._unreadable_before_epoch = self.unreadable

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Count the batch, log new names, stop when there are too many.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Number of the batch in the epoch.
            data_batch (dict, optional): From the loader.

        Raises:
            RuntimeError: The share of unreadable fetches is too large.
        """
        batch = data_batch if isinstance(data_batch, dict) else {}
        for sample in batch.get('data_samples', []):
            # The views of one video were fetched together.
            if sample.metainfo.get('view', 0) == 0:
                self._count(sample.metainfo.get('unreadable', []))
        share = self.unreadable / max(self.fetched, 1)
        if self.fetched >= self.min_fetches and share > self.max_share:
            raise RuntimeError(self._too_many(share))

    def after_train_epoch(self, runner: Runner) -> None:
        """Log the counts if the epoch had unreadable files.

        Args:
            runner (Runner): The runner.
        """
        self._log_summary(only_if_new=self.unreadable - self._unreadable_before_epoch)

    def after_train(self, runner: Runner) -> None:
        """Log the counts of the whole run.

        Args:
            runner (Runner): The runner.
        """
        self._log_summary()

    def _count(self, unreadable: list[tuple[str, str]]) -> None:
        self.fetched += 1 + len(unreadable)
        self.unreadable += len(unreadable)
        for path, reason in unreadable:
            self.reasons.setdefault(path, reason)
            self._name(path, reason)

    def _name(self, path: str, reason: str) -> None:
        """Log a file, unless that was done before."""
        if path in self._named:
            return
        self._named.add(path)
        # Formatted here: MMEngine's logger drops a second warning with the
        # same unformatted message.
        _logger().warning(f'unreadable file replaced: {path} ({reason})')

    def _log_summary(self, only_if_new: int | None = None) -> None:
        # One small exchange per epoch: the processes see different videos.
        counts = all_gather_object((self.fetched, self.unreadable, self.reasons, only_if_new))
        if only_if_new is not None and not any(c[3] for c in counts):
            return
        fetched = sum(c[0] for c in counts)
        unreadable = sum(c[1] for c in counts)
        reasons = {path: why for c in counts for path, why in c[2].items()}
        # MMEngine keeps no log of the other processes' warnings.
        for path, reason in reasons.items():
            self._name(path, reason)
        _logger().info(
            '%d of %d fetched files could not be read and were replaced '
            '(%.2f %%, %d different files)',
            unreadable,
            fetched,
            100 * unreadable / max(fetched, 1),
            len(reasons),
        )

    def _too_many(self, share: float) -> str:
        first = '\n'.join(
            f'    {path}: {reason}' for path, reason in list(self.reasons.items())[:5]
        )
        return (
            f'{self.unreadable} of {self.fetched} fetched files '
            f'({100 * share:.1f} %) could not be read, more than '
            f'max_share={self.max_share}. The first:\n{first}\n'
            'Videos: `python tools/check_videos.py FOLDER_OR_LIST` finds them '
            'all and writes a clean list to train on; give it --backend and '
            '--min-frames as amd_mm.VideoInit has them, if they are not the '
            "pre-training configs'. Images: remove these files. Or raise "
            'max_share of UnreadableVideosHook if that many may be missing.'
        )


def _logger() -> MMLogger:
    return MMLogger.get_current_instance()
