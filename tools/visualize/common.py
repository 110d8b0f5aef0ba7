"""Command line and error handling of the tools in this folder."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from amd_mm.apis import read_config, scope_of
from amd_mm.arguments import KeyValues
from amd_mm.engine import launch
from amd_mm.errors import ConfigError
from mmengine.config import Config
from mmengine.registry import init_default_scope


def new_parser(
    script: str, description: str, outputs: str | None = None
) -> argparse.ArgumentParser:
    """A parser with the options of every tool.

    Args:
        script: file of the tool.
        description: its docstring.
        outputs: ``nargs`` of ``--out``; with it, pictures may move.
    """
    parser = argparse.ArgumentParser(
        prog=Path(script).name,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--out',
        nargs=outputs,
        required=True,
        metavar='FILE',
        help='.png, .pdf or .svg' + (', or .gif, .mp4, which move' if outputs else ''),
    )
    parser.add_argument('--traceback', action='store_true', help='show where an error comes from')
    return parser


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """A training config and changes to it."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--cfg-options', nargs='+', action=KeyValues, help='override config entries: key=value'
    )


def read_training_config(args: argparse.Namespace) -> Config:
    """The config of :func:`add_config_arguments`; its default scope is set.

    Raises:
        ConfigError: If it is not for training.
    """
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    for key in ('model', 'train_dataloader'):
        if not cfg.get(key):
            raise ConfigError(f'{cfg.filename} has no {key}: give a config for training')
    init_default_scope(scope_of(cfg))
    return cfg


def check_training_data(cfg: Config) -> None:
    """Check that the training data exist; weights are not needed.

    Raises:
        ConfigError: If something is missing.
    """
    data = Config(dict(train_dataloader=cfg.train_dataloader), filename=cfg.filename)
    launch.check_paths(data, 'train_dataloader')


def run_tool(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], None],
    argv: list[str] | None,
) -> int:
    """Run a tool: 0, or 1 after an error, whose message is printed."""
    args = parser.parse_args(argv)
    try:
        run(args)
    except (ValueError, OSError, ImportError) as error:
        if args.traceback:
            raise
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 1
    return 0
