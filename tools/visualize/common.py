"""Command line and error handling of the tools in this folder."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


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
