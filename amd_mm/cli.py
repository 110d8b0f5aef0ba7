"""The command ``amd-mm``: functions of the package on a command line.

The options of a command are the arguments of its function, and their help is the docstring's.
"""

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, get_args, get_origin

import amd_mm

from .arguments import KeyValues


def print_models() -> None:
    """List the public weights that commands know by name."""
    from .zoo import WEIGHTS

    for one in WEIGHTS:
        print(f'{one.name:<22} {one.architecture:<10} {one.trained} ({one.licence}) {one.address}')


def print_configs(folder: str = '') -> None:
    """List the shipped configs.

    Args:
        folder: Only those below it.
    """
    print('\n'.join(amd_mm.list_configs(folder)))


def print_sizes(
    frames: int = 16, size: int = 224, latency: bool = False, device: str | None = None
) -> None:
    """Print parameters, FLOPs and latency of the encoders.

    Args:
        frames: Frames of a clip.
        size: Height and width in pixels.
        latency: Measure it, in seconds to minutes.
        device: Where to measure; the GPU by default.
    """
    from .sizes import as_markdown, model_sizes

    print(as_markdown(model_sizes(frames, size, latency, device)))


# Command -> its function, or the name of one in amd_mm, imported when it is used; and a summary.
COMMANDS: dict[str, tuple[str | Callable, str]] = dict(
    distill=('distill', 'train a small model on your own videos or images'),
    finetune=('finetune', 'fine-tune a model on your own classes'),
    embed=('embed', 'write the features of a collection of videos'),
    models=(print_models, 'list the public weights that commands know by name'),
    configs=(print_configs, 'list the shipped configs'),
    sizes=(print_sizes, 'print parameters, FLOPs and latency of the encoders'),
)


def make_parser(command: str, function: Callable) -> argparse.ArgumentParser:
    """A parser with an option for each argument of a function."""
    text = inspect.getdoc(function) or ''
    parser = argparse.ArgumentParser(
        prog=f'amd-mm {command}', description=text.split('\n\n')[0], allow_abbrev=False
    )
    helps = _arguments_of(text)
    for name, parameter in inspect.signature(function).parameters.items():
        option, required = f'--{name.replace("_", "-")}', parameter.default is parameter.empty
        kind, words = _type_of(parameter.annotation), helps.get(name, '').replace('%', '%%')
        if kind is None:
            continue
        if kind is bool:
            parser.add_argument(option, action='store_true', help=words)
        elif kind is Mapping:
            parser.add_argument(
                option, nargs='+', action=KeyValues, metavar='KEY=VALUE', help=words
            )
        else:
            parser.add_argument(
                option, type=kind, required=required, default=parameter.default, help=words
            )
    parser.add_argument('--traceback', action='store_true', help='show where an error comes from')
    return parser


def _arguments_of(text: str) -> dict[str, str]:
    """Argument -> its description in a docstring."""
    _, _, rest = text.partition('Args:\n')
    section = textwrap.dedent(rest.partition('\n\n')[0])
    entries = re.split(r'^(\w+): ', section, flags=re.MULTILINE)[1:]
    return {name: ' '.join(words.split()) for name, words in zip(entries[::2], entries[1::2])}


def _type_of(annotation: Any) -> Any:
    """The type of an option: str if an argument may be one; None if it needs Python."""
    union = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    kinds = [get_origin(one) or one for one in union]
    return next((one for one in (str, bool, int, float, Mapping) if one in kinds), None)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command. Errors that the user can mend end in one sentence and exit status 1."""
    argv = list(sys.argv[1:] if argv is None else argv)
    listed = '\n'.join(f'  {name:<10}{text}' for name, (_, text) in COMMANDS.items())
    if not argv or argv[0] not in COMMANDS:
        print(f'usage: amd-mm COMMAND [options], with --help for its options\n\n{listed}')
        sys.exit(0 if argv in ([], ['--help'], ['-h']) else 2)
    command, *rest = argv
    named, _ = COMMANDS[command]
    function = getattr(amd_mm, named) if isinstance(named, str) else named
    values = vars(make_parser(command, function).parse_args(rest))
    traceback = values.pop('traceback')
    try:
        function(**values)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        if traceback:
            raise
        sys.exit(f'amd-mm {command}: {error}')
