"""torchrun that ends as its processes end, without a traceback of its own.

    python tools/torchrun.py --nproc_per_node=8 tools/train.py CONFIG ...

The arguments are those of `torchrun`; tools/dist_train.sh uses it. When a
process fails or the run is told to stop, torchrun prints a traceback through
itself and ends with 1. Here the exit code is that of the first process that
failed, or 128 and the signal (130 for Ctrl-C, 143 for SIGTERM), and a process
that the system has killed, which could not say anything, is named.
"""

import signal
import sys
from typing import List, Optional

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run


def main(argv: Optional[List[str]] = None) -> int:
    """Start the processes and wait for them.

    Args:
        argv (list[str], optional): Of the command line by default.

    Returns:
        int: The exit code.
    """
    try:
        run(parse_args(argv))
    except SignalException as error:
        return 128 + error.sigval
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return failure.exitcode
        name = signal.Signals(-failure.exitcode).name
        print(
            f'process {rank} was ended by {name}{_why(name)}', file=sys.stderr
        )
        return 128 - failure.exitcode
    return 0


def _why(name: str) -> str:
    if name != 'SIGKILL':
        return ''
    return (
        ', by the system perhaps, when memory was full: fewer '
        'train_dataloader.num_workers, or more memory for the job'
    )


if __name__ == '__main__':
    sys.exit(main())
