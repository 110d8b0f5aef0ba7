#!/usr/bin/env python
r"""Convert a checkpoint between this package and the public formats.

Examples:
    # A teacher from Hugging Face, in this package's names
    python tools/convert_checkpoint.py videomae-large/ teacher.pth

    # A student for a program that reads the public VideoMAE format
    python tools/convert_checkpoint.py work_dirs/x/epoch_800.pth \
        student.pth --to videomae

    # What is in a file?
    python tools/convert_checkpoint.py some.pth --list
"""

import argparse
import os
import sys
from pathlib import Path

import amd_mm
from amd_mm.checkpoints import (
    FORMATS,
    CheckpointError,
    Converted,
    describe_encoder,
    detect_format,
    from_amd_mm,
    get_format,
    group_by_reason,
    known_formats,
    read_checkpoint,
    save_weights,
    to_amd_mm,
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'formats:\n{known_formats()}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('src', help='a file, a Hugging Face folder or an http(s) address')
    parser.add_argument('dst', nargs='?', help='what to write: .pth or .safetensors')
    parser.add_argument(
        '--to',
        default='amd_mm',
        choices=FORMATS,
        metavar='FORMAT',
        help='format to write (default: amd_mm)',
    )
    parser.add_argument(
        '--from',
        dest='source_format',
        default='auto',
        choices=('auto', *FORMATS),
        metavar='FORMAT',
        help='format of SRC (default: auto, recognised from the names)',
    )
    parser.add_argument(
        '--list', action='store_true', help='print the names and shapes; DST may be left out'
    )
    parser.add_argument('--force', action='store_true', help='replace an existing DST')
    parser.add_argument(
        '--unsafe',
        action='store_true',
        help='read SRC even if it can run code (only files that you trust)',
    )
    args = parser.parse_args(argv)
    if args.dst is None and not args.list:
        parser.error('DST is missing (or give --list to look only)')
    return args


def convert(args: argparse.Namespace) -> Converted:
    """Read and convert, and say what was found."""
    checkpoint = read_checkpoint(args.src, unsafe=args.unsafe)
    source_format = args.source_format
    if source_format == 'auto':
        source_format = detect_format(checkpoint)
    ours, dropped = to_amd_mm(checkpoint, source_format)
    theirs, dropped_later = from_amd_mm(ours, args.to)
    values = sum(tensor.numel() for tensor in theirs.values())
    print(f'{args.src}: {source_format} ({get_format(source_format).description})')
    print(f'  encoder: {describe_encoder(ours)}')
    print(f'  as {args.to}: {len(theirs)} tensors, {values / 1e6:.2f} M values')
    return Converted(theirs, {**dropped, **dropped_later})


def check_destination(path: Path, force: bool) -> None:
    """See that a file can be written, before the work is done.

    Args:
        path (Path): The file; missing folders will be made.
        force (bool): Whether an existing file may be replaced.

    Raises:
        OSError: If not; says why.
    """
    if path.is_dir():
        raise IsADirectoryError(f'{path} is a folder; give the name of a file in it.')
    if path.exists() and not force:
        raise FileExistsError(f'{path} exists; give another name or --force.')
    folder = next(one for one in path.absolute().parents if one.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f'{path} cannot be written: {folder} is no folder in which you '
            'may write; give another DST.'
        )


def main(argv: list[str] | None = None) -> None:
    """Convert, say what was dropped, and write unless told only to look."""
    args = parse_args(argv)
    try:
        if args.dst:
            check_destination(Path(args.dst), args.force)
        state, dropped = convert(args)
        for count, text in group_by_reason(dropped):
            print(f'  dropped {count}: {text}')
        if args.list:
            for name, tensor in state.items():
                print(f'  {name} {tuple(tensor.shape)} {tensor.dtype}')
        if args.dst is None:
            return
        meta = dict(converted_from=args.src, format=args.to, amd_mm_version=amd_mm.__version__)
        digest = save_weights(state, args.dst, args.to, meta, args.force)
    except (CheckpointError, OSError) as error:
        sys.exit(f'convert_checkpoint: {error}')
    print(f'wrote {args.dst}\n  sha256 {digest}')


if __name__ == '__main__':
    main()
