#!/usr/bin/env python
r"""Convert a checkpoint between this package and the public formats.

Examples:
    # A teacher from Hugging Face, in this package's names
    python tools/convert_checkpoint.py videomae-large/ teacher.pth

    # A student for a program that reads the public VideoMAE format
    python tools/convert_checkpoint.py work_dirs/x/epoch_800.pth \
        student.pth --to videomae

    # List the weights of a file
    python tools/convert_checkpoint.py some.pth --list

    # An old checkpoint of MMEngine that you trust, so that --resume reads it
    python tools/convert_checkpoint.py epoch_3.pth plain.pth --unsafe --keep-state
"""

import argparse
import io
import os
import sys
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm
import torch
from amd_mm.checkpoints import (
    FORMATS,
    CheckpointError,
    describe_encoder,
    detect_format,
    file_sha256,
    from_amd_mm,
    get_format,
    group_by_reason,
    known_formats,
    make_plain,
    read_checkpoint,
    save_weights,
    to_amd_mm,
    write_atomically,
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'formats:\n{known_formats()}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('src', help='a file, a Hugging Face folder or an http(s) address')
    add('dst', nargs='?', help='the file to write: .pth or .safetensors')
    formats = dict(metavar='FORMAT')
    add(
        '--to', default='amd_mm', choices=FORMATS, help='format of DST (default: amd_mm)', **formats
    )
    add(
        '--from',
        dest='source_format',
        choices=FORMATS,
        help='format of SRC (default: recognised from the names)',
        **formats,
    )
    add('--list', action='store_true', help='print names and shapes; DST may be omitted')
    add('--force', action='store_true', help='replace an existing DST')
    add('--unsafe', action='store_true', help='read SRC even if it can run code: if you trust it')
    add(
        '--keep-state',
        action='store_true',
        help='rewrite a checkpoint of MMEngine with all that --resume needs; converts no names',
    )
    args = parser.parse_args(argv)
    if args.dst is None and (args.keep_state or not args.list):
        parser.error('DST is missing (or give --list to look only)')
    return args


def check_destination(path: Path, force: bool) -> None:
    """Check before the work that a file can be written.

    Raises:
        CheckpointError: If it cannot.
    """
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder; give the name of a file in it.')
    if path.exists() and not force:
        raise CheckpointError(f'{path} exists; give another name or --force.')
    folder = next(one for one in path.absolute().parents if one.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise CheckpointError(
            f'{path} cannot be written: {folder} is not a folder in which you may write; give '
            'another DST.'
        )


def convert(args: argparse.Namespace) -> str | None:
    """Convert, print what was found and dropped, and write; returns the sha256 of DST."""
    checkpoint = read_checkpoint(args.src, unsafe=args.unsafe)
    if args.keep_state:
        content = io.BytesIO()
        torch.save(make_plain(checkpoint), content)
        write_atomically(args.dst, content.getbuffer())
        return file_sha256(args.dst)
    source = args.source_format or detect_format(checkpoint)
    ours, dropped = to_amd_mm(checkpoint, source)
    state, dropped_later = from_amd_mm(ours, args.to)
    values = sum(tensor.numel() for tensor in state.values())
    print(f'{args.src}: {source} ({get_format(source).description})')
    print(f'  encoder: {describe_encoder(ours)}')
    print(f'  as {args.to}: {len(state)} tensors, {values / 1e6:.2f} M values')
    for count, text in group_by_reason({**dropped, **dropped_later}):
        print(f'  dropped {count}: {text}')
    if args.list:
        for name, tensor in state.items():
            print(f'  {name} {tuple(tensor.shape)} {tensor.dtype}')
    if args.dst is None:
        return None
    meta = dict(converted_from=args.src, format=args.to, amd_mm_version=amd_mm.__version__)
    return save_weights(state, args.dst, args.to, meta, args.force)


def main(argv: list[str] | None = None) -> None:
    """Check the destination, convert, and print the checksum."""
    args = parse_args(argv)
    try:
        if args.dst:
            check_destination(Path(args.dst), args.force)
        digest = convert(args)
    except CheckpointError as error:
        sys.exit(f'convert_checkpoint: {error}')
    if digest:
        print(f'wrote {args.dst}\n  sha256 {digest}')


if __name__ == '__main__':
    main()
