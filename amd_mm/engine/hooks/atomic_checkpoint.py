import math
import os
import os.path as osp
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape, glob
from pathlib import Path
from typing import Any

from amd_mm.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

PARTIAL_SUFFIX = '.partial'
ATOMIC_BACKEND = 'amd_mm_atomic'


class SavingError(OSError):
    """A file that could not be written: no room, or no permission.

    Args:
        path (str): The file.
        size (int): What was to be written, bytes.
        cause (OSError): What the operating system says.
    """

    def __init__(self, path: str, size: int, cause: OSError) -> None:
        super().__init__(
            f'cannot save {path} ({size / 1e6:.1f} MB): '
            f'{cause.strerror or cause}. What was saved before is untouched: '
            f'make room in {osp.dirname(osp.abspath(path))} and go on with '
            '--resume'
        )


def write_atomically(path: str, content: bytes | memoryview) -> None:
    """Write a file so that its name never stands for half of it.

    The content goes to ``<path>.partial``, to the disk, and then takes the
    name: whoever is killed, at any time, leaves the old file or the new one.

    Args:
        path (str): The file; its folder is made if missing.
        content (bytes | memoryview): What to write.

    Raises:
        SavingError: If it cannot be written; nothing is left of it, and what
            was there before is as it was.
    """
    folder = osp.dirname(osp.abspath(path))
    partial = path + PARTIAL_SUFFIX
    try:
        os.makedirs(folder, exist_ok=True)
        with open(partial, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(folder)
    except OSError as error:
        _remove_if_there(partial)
        raise SavingError(path, len(content), error) from error


def _remove_if_there(path: str) -> None:
    """Give back the room that half a file takes."""
    with suppress(OSError):
        os.remove(path)


def _sync_folder(folder: str) -> None:
    """Make the renaming itself last over a power cut, where that works."""
    if os.name == 'nt':
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@register_backend(ATOMIC_BACKEND, force=True)
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend with :func:`write_atomically`."""

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write a file whole or not at all."""
        write_atomically(str(filepath), obj)


class _RemoveLater:
    """A file backend that writes down what to remove instead of removing.

    Args:
        backend (LocalBackend): Does everything else.
    """

    def __init__(self, backend: LocalBackend) -> None:
        self._backend = backend
        self.removals: list[tuple[Callable[[str], None], str]] = []

    def remove(self, filepath: str) -> None:
        self.removals.append((self._backend.remove, filepath))

    def rmtree(self, dir_path: str) -> None:
        self.removals.append((self._backend.rmtree, dir_path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` that survives being killed at any time.

    MMEngine first removes the oldest checkpoint and then writes the new one in
    place: a run killed in between has lost the old one and left a truncated
    file. Here

    - a checkpoint and ``last_checkpoint`` are written under another name, to
      the disk, and renamed: there is no truncated file to resume from;
    - ``last_checkpoint`` follows when the checkpoint is complete;
    - old checkpoints go after that (also those of ``save_best``), so for a
      moment (or for good, if killed in it) there is one more than
      ``max_keep_ckpts``;
    - what a killed run left half-written is removed at the next start.

    Gradients that wait for more batches of their step
    (``accumulative_counts``) are in no checkpoint. Where one would fall inside
    a step, so that the run resumed from it is not the uninterrupted one, the
    log says so before training.

    Arguments are those of ``mmengine.CheckpointHook``. Checkpoints that go to
    another place than a local folder (``backend_args``, ``s3://``) are written
    by their own backend.
    """

    file_backend: Any

    def before_train(self, runner: Runner) -> None:
        """Write local files whole, and clear up what another run left."""
        super().before_train(runner)
        self._warn_about_split_steps(runner)
        if type(self.file_backend) is LocalBackend:
            self.backend_args = dict(backend=ATOMIC_BACKEND)
            if is_main_process():
                self._remove_partial(runner)

    def _warn_about_split_steps(self, runner: Runner) -> None:
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        epoch = len(runner.train_dataloader) if self.by_epoch else 1
        batches = self.interval * epoch
        if self.interval <= 0 or batches % counts == 0:
            return
        runner.logger.warning(
            f'optim_wrapper.accumulative_counts={counts} does not divide the '
            f'{batches} batches between two checkpoints, so some fall inside '
            'a step, whose gradients they do not hold: a run resumed from one '
            'of these is not exactly the uninterrupted one. Take a divisor of '
            f'{batches}, or make default_hooks.checkpoint.interval a multiple '
            f'of {counts // math.gcd(epoch, counts)}'
        )

    def _remove_partial(self, runner: Runner) -> None:
        for folder in {self.out_dir, runner.work_dir}:
            pattern = osp.join(escape(folder), '*' + PARTIAL_SUFFIX)
            for path in glob(pattern):
                runner.logger.info(
                    f'Removing {path}, left by a run that was stopped while writing it.'
                )
                os.remove(path)

    @contextmanager
    def _removing_later(self) -> Iterator[None]:
        """Do the removals asked for inside only when all is written."""
        backend = self.file_backend
        if isinstance(backend, _RemoveLater):  # inside another
            yield
            return
        self.file_backend = _RemoveLater(backend)
        try:
            yield
            for remove, path in self.file_backend.removals:
                remove(path)
        finally:
            self.file_backend = backend

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._removing_later():
            super()._save_best_checkpoint(runner, metrics)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._removing_later():
            self._forget_oldest(runner, step)
            name = self.filename_tmpl.format(step)
            self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
            runner.message_hub.update_info('last_ckpt', self.last_ckpt)
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                write_atomically(
                    osp.join(runner.work_dir, 'last_checkpoint'), self.last_ckpt.encode()
                )

    def _forget_oldest(self, runner: Runner, step: int) -> None:
        """Update the list of checkpoints kept, which is saved in them."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return
        if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
            oldest = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
            path = self.file_backend.join_path(self.out_dir, oldest)
            if is_main_process() and self.file_backend.isfile(path):
                self.file_backend.remove(path)
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
