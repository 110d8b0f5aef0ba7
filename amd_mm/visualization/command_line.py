"""What the command lines in tools/visualize have in common."""

import argparse
import sys
from collections.abc import Callable


def run_tool(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], None],
    argv: list[str] | None = None,
    errors: tuple[type[Exception], ...] = (),
) -> int:
    """Read the command line, run, and say what is wrong with it.

    Args:
        parser (ArgumentParser): Of the tool; errors begin with its ``prog``.
        run (Callable): The tool.
        argv (List[str], optional): Arguments; those of the process if None.
        errors (Tuple[Type[Exception], ...]): Whose message is for the user,
            beside OSError, ImportError and ValueError.

    Returns:
        int: The exit code: 0, or 2 if something has to be changed.
    """
    args = parser.parse_args(argv)
    told: tuple[type[Exception], ...] = (*errors, ImportError, OSError, ValueError)
    try:
        run(args)
    except told as error:
        print(f'{parser.prog}: {error}', file=sys.stderr)
        return 2
    return 0
