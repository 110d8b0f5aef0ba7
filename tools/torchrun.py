"""torchrun that ends as its processes end, without a traceback of its own.

    python tools/torchrun.py --nproc_per_node=8 tools/train.py CONFIG ...

The arguments are those of `torchrun`; dist_train.sh and dist_test.sh use it.
A port that is taken is said before anything is started. When a
process fails or the run is told to stop, torchrun prints a traceback through
itself and ends with 1. Here the exit code is that of the first process that
failed, or 128 and the signal (130 for Ctrl-C, 143 for SIGTERM), and a process
that the system has killed, which could not say anything, is named.
"""

import signal
import socket
import sys
from argparse import Namespace

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run


def main(argv: list[str] | None = None) -> int:
    """Start the processes and wait for them.

    Args:
        argv (list[str], optional): Of the command line by default.

    Returns:
        int: The exit code.
    """
    args = parse_args(argv)
    if _port_is_taken(args):
        port = int(args.master_port)
        print(
            f'port {port} is in use, by another run on this machine perhaps: '
            f'give this one another, PORT={port + 1} before the command',
            file=sys.stderr,
        )
        return 1
    try:
        run(args)
    except SignalException as error:
        return 128 + error.sigval
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode >= 0:
            return failure.exitcode
        name = signal.Signals(-failure.exitcode).name
        print(f'process {rank} was ended by {name}{_why(name)}', file=sys.stderr)
        return 128 - failure.exitcode
    return 0


def _port_is_taken(args: Namespace) -> bool:
    """Whether something answers where the first node is to listen."""
    if int(args.node_rank):
        return False
    try:
        with socket.create_connection(('127.0.0.1', args.master_port), 1):
            return True
    except OSError:
        return False


def _why(name: str) -> str:
    if name != 'SIGKILL':
        return ''
    return (
        ', by the system perhaps, when memory was full: fewer '
        'train_dataloader.num_workers, or more memory for the job'
    )


if __name__ == '__main__':
    sys.exit(main())
