"""Command-line arguments of the tools. Importing this module imports no host codebase."""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from mmengine.config import DictAction

# Launcher -> the variables that it sets, and how it is started.
LAUNCHERS: dict[str, dict[str, str]] = {
    'pytorch': dict(
        rank='RANK',
        local_rank='LOCAL_RANK',
        processes='WORLD_SIZE',
        start='bash tools/dist_train.sh CONFIG GPUS',
    ),
    'slurm': dict(
        rank='SLURM_PROCID',
        local_rank='SLURM_LOCALID',
        processes='SLURM_NTASKS',
        start='bash tools/slurm_train.sh PARTITION JOB CONFIG',
    ),
    'mpi': dict(
        rank='OMPI_COMM_WORLD_RANK',
        local_rank='OMPI_COMM_WORLD_LOCAL_RANK',
        processes='OMPI_COMM_WORLD_SIZE',
        start='mpirun -x MASTER_ADDR=HOST -n GPUS python tools/train.py CONFIG',
    ),
}


class KeyValues(DictAction):
    """MMEngine's ``key=value`` arguments; anything else is a usage error.

    A value with commas is a list, unless it is in quotation marks or names a file or folder.
    """

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        """Read a value. MMEngine's reader splits paths at commas and removes their blanks."""
        text = val.strip('\'"')
        if not set(text) & set(',()[]'):
            return DictAction._parse_int_float_bool(text)
        quoted = len(text) == len(val) - 2 and not set(text) & set('\'"([')
        return text if quoted or os.path.exists(text) else DictAction._parse_iterable(val)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Read the arguments."""
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, ValueError):  # no "=", open brackets
            parser.error(f'{option_string} takes key=value without blanks, not {values}')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='folder for logs and checkpoints (default: work_dirs/<config name>)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValues,
        help='override entries of the config: key=value, e.g. train_dataloader.batch_size=8; lists '
        'as key="[a,b]", nested ones with quotation marks and without blanks',
    )
    parser.add_argument(
        '--launcher', choices=('none', *LAUNCHERS), default='none', help='job launcher'
    )
    # torchrun sets LOCAL_RANK; older launchers pass one of these.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    parser.add_argument('--traceback', action='store_true', help='show where an error comes from')
