"""One run in a work folder at a time."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amd_mm.errors import ConfigError


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
