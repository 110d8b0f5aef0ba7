from collections.abc import Iterator
from itertools import islice
from typing import Any

from amd_mm.errors import CheckpointError
from amd_mm.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..work_dir import POSITION


@HOOKS.register_module()
class ResumeEpochHook(Hook):
    """Resumes inside of the epoch in which :class:`StopOnSignalHook` stopped a run.

    The finished batches are skipped without reading them. With the samplers and seeds of our
    configs, a resumed run computes what an uninterrupted run computes: bit for bit on a CPU, with
    ``--deterministic`` on a GPU. If the number of batches changed, the epoch starts again.
    """

    priority = 'LOWEST'  # after StrictLoadHook

    def __init__(self) -> None:
        self.position: dict[str, int] | None = None
        self.sampler: Any = None  # while it is replaced

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the position.

        Raises:
            CheckpointError: If the checkpoint to resume holds only weights, or another seed.
        """
        if not runner._resume:
            return
        if not {'meta', 'optimizer'} <= set(checkpoint):
            raise CheckpointError(
                f'{runner._load_from} holds weights, and not the state of a run. Start from them: '
                f'--cfg-options load_from={runner._load_from}, without --resume'
            )
        asked = getattr(runner, '_randomness_cfg', {}).get('seed')
        seed = checkpoint['meta'].get('seed', asked)
        if asked not in (None, seed):  # MMEngine takes over the seed, but not for the samplers
            raise CheckpointError(
                f'the run of {runner._load_from} has the seed {seed}, this one {asked}: resume '
                f'with --seed {seed}'
            )
        self.position = checkpoint['meta'].get(POSITION)

    def before_train_epoch(self, runner: Runner) -> None:
        """Skip the finished batches."""
        position, self.position = self.position or dict(batches=0, of=0), None
        done, former = position['batches'], position['of']
        loop, count = runner.train_loop, len(runner.train_dataloader)
        if done and former != count:
            runner.logger.warning(
                f'the run was stopped after {done} of {former} batches of an epoch, which now has '
                f'{count}: the epoch starts again'
            )
        elif done:
            runner.logger.info(f'skipping {done} of {count} batches, which are finished')
            batches, run_iter = loop.dataloader.batch_sampler, loop.run_iter
            self.sampler = batches.sampler
            batches.sampler = ShiftedSampler(self.sampler, done * batches.batch_size)
            # The loop counts from 0.
            loop.run_iter = lambda idx, batch: run_iter(idx + done, batch)

    def after_train_epoch(self, runner: Runner) -> None:
        """Read whole epochs again."""
        if self.sampler is not None:
            runner.train_dataloader.batch_sampler.sampler, self.sampler = self.sampler, None
            del runner.train_loop.run_iter


class ShiftedSampler:
    """A sampler without its first indices, of unchanged length."""

    def __init__(self, sampler: Any, start: int) -> None:
        self.sampler, self.start = sampler, start

    def __iter__(self) -> Iterator[Any]:
        return islice(self.sampler, self.start, None)

    def __len__(self) -> int:
        return len(self.sampler)
