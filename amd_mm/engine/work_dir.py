"""The work folder of a run: its lock, and the checkpoint of a run that ends early."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amd_mm.checkpoints import write_atomically
from amd_mm.checkpoints.io import ATOMIC_BACKEND
from amd_mm.errors import ConfigError
from mmengine.dist import is_main_process
from mmengine.runner import Runner

# In the meta of a checkpoint: dict(batches=finished ones of the epoch, of=all of them).
POSITION = 'amd_mm_stopped'


@contextmanager
def locked(work_dir: str) -> Iterator[None]:
    """Hold a work folder until the block, or the process, ends.

    A POSIX lock, because processes of a data loader inherit those of ``flock``, and outlive a
    killed run. File systems without locks, and folders that cannot be written, are not locked.

    Raises:
        ConfigError: If another run holds it.
    """
    try:
        file = Path(work_dir, '.lock').open('a+')  # noqa: SIM115
    except OSError:
        yield
        return
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            raise ConfigError(
                f'the work folder {work_dir} is in use by another run ({file.read().strip()}), and '
                'both would write the same files: use another --work-dir, or wait'
            ) from error
        except OSError:
            pass
        else:
            file.truncate(0)
            print(f'process {os.getpid()} of {socket.gethostname()}', file=file, flush=True)
        yield


def save_position(runner: Runner, finished: dict[str, int], reason: str) -> None:
    """Save ``stopped_at_iter_N.pth``, which ``--resume`` continues exactly.

    Args:
        runner: The runner.
        finished: The epochs (``epoch``), iterations (``iter``) and ``batches`` of the epoch so far.
        reason: For the log.
    """
    meta = dict(finished)
    steps, batches = meta['iter'], meta.pop('batches')
    path = os.path.join(runner.work_dir, f'stopped_at_iter_{steps}.pth')
    runner.save_checkpoint(
        runner.work_dir,
        os.path.basename(path),
        meta={POSITION: dict(batches=batches, of=len(runner.train_dataloader)), **meta},
        by_epoch=meta['epoch'] > runner.epoch,  # FlexibleRunner takes no epoch from the meta
        backend_args=dict(backend=ATOMIC_BACKEND),
    )
    if is_main_process():
        write_atomically(os.path.join(runner.work_dir, 'last_checkpoint'), path.encode())
    runner.logger.info(
        f'{reason}: stopped after iteration {steps} and saved {path}. '
        'The same command with --resume continues'
    )


def remove_former_stops(work_dir: str) -> None:
    """Remove the checkpoints of stops, except for the one that ``last_checkpoint`` names."""
    note = Path(work_dir, 'last_checkpoint')
    if note.is_file():
        for path in note.parent.glob('stopped_at_iter_*.pth'):
            if path.name != os.path.basename(note.read_text()):
                path.unlink()
