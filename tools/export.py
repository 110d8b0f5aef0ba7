#!/usr/bin/env python
r"""Export a trained model: to a phone, to a server, to another codebase.

As a program, which runs without this package (--format onnx or pt2): one input, described in
OUT.json beside it, of any batch size. It is compared with the PyTorch model before it is saved.

    python tools/export.py CONFIG CHECKPOINT model.onnx --format onnx
    python tools/export.py CONFIG CHECKPOINT vit.pt2 --format pt2 --features

Smaller ONNX files beside it (model.fp16.onnx, model.int8.onnx), with a table of how often they give
the most likely class of the PyTorch model on your videos, and of the time for a clip:

    python tools/export.py CONFIG CHECKPOINT model.onnx --format onnx --check VIDEOS

As weights of the bare backbone (--format mmaction, mmpretrain, timm or huggingface), in the
names of that codebase; vit.pth becomes vit-1a2b3c4d.pth, with the first digits of its sha256.

    python tools/export.py CHECKPOINT vit.pth --format timm

As a model folder, which this package reads, and transformers or timm where they have the model:

    python tools/export.py CHECKPOINT my-model --format folder

CONFIG may be left out where training left it beside the checkpoint; weights need none. A program
sees one clip: average over several views of a video yourself. tools/convert_checkpoint.py
converts whole checkpoints.

Exit code: 0; 1 if something is wrong with the files, or the program does not compute the same as
the model (no file is left behind); 2 for a wrong call.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm
import torch
from amd_mm.apis import find_source
from amd_mm.arguments import KeyValues
from amd_mm.checkpoints import (
    CODEBASES,
    CheckpointMismatchError,
    collapse,
    file_sha256,
    publish_encoder,
    read_checkpoint,
)
from amd_mm.datasets.inference import stride_of
from amd_mm.deployment import (
    INPUTS,
    PRECISIONS,
    PROGRAM_FORMATS,
    Exported,
    PortableModel,
    agreement_table,
    check_request,
    export_program,
    measure_agreement,
    portable_classifier,
    portable_encoder,
    write_smaller,
)
from amd_mm.errors import CheckpointError, ConfigError, VideoError
from amd_mm.evaluation.features import find_inputs
from amd_mm.evaluation.label_map import read_label_map
from amd_mm.runs import write_model_folder
from mmengine.config import Config

FOLDER = 'folder'
# parts that pre-training leaves to fine-tuning
_FINE_TUNED = ('cls_head.', 'head.', 'backbone.fc_norm.', 'backbone.ln2.')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('files', nargs='+', metavar='[CONFIG] CHECKPOINT OUT', help='see above')
    add(
        '--format',
        required=True,
        choices=(*PROGRAM_FORMATS, FOLDER, *CODEBASES),
        help='a program, a model folder or a codebase',
    )
    add = parser.add_argument_group('for programs').add_argument
    add('--features', action='store_true', help='export the bare backbone: features, not scores')
    add(
        '--input',
        choices=INPUTS,
        default='uint8',
        help='uint8: pixels, normalised by the program (default); normalised: float32, normalised '
        'by the caller',
    )
    add('--labels', metavar='FILE', help='class names for OUT.json: one a line, or .json')
    add(
        '--tolerance',
        type=float,
        default=1e-4,
        help='largest difference from the model, as a share of its largest output (1e-4)',
    )
    add(
        '--check',
        metavar='DATA',
        help='also write fp16 and int8 files, and compare all with PyTorch on a folder or list of '
        'videos',
    )
    add('--cfg-options', nargs='+', action=KeyValues, help='override config entries: key=value')
    add('--force', action='store_true', help='replace an existing OUT')
    args = parser.parse_args(argv)
    if not 2 <= len(args.files) <= 3:
        parser.error('give [CONFIG] CHECKPOINT OUT, two or three of them')
    *config, args.checkpoint, args.out = args.files
    args.config = config[0] if config else None
    if args.format not in PROGRAM_FORMATS:
        for name in (
            *(['config'] if args.format in CODEBASES else []),
            'features',
            'input',
            'labels',
            'tolerance',
            'check',
            'cfg_options',
            'force',
        ):
            if getattr(args, name) != parser.get_default(name):
                option = 'CONFIG' if name == 'config' else f'--{name.replace("_", "-")}'
                parser.error(f'{option} is not for --format {args.format}')
    elif args.check and (args.features or args.format != 'onnx'):
        parser.error('--check is for --format onnx and scores')
    elif args.features and args.labels:
        parser.error('--labels is for scores, not for --features')
    args.command = shlex.join(['tools/export.py', *(argv or sys.argv[1:])])
    return args


def export_weights(args: argparse.Namespace) -> None:
    """Write the bare backbone in the names of a codebase."""
    published = publish_encoder(
        read_checkpoint(args.checkpoint),
        args.out,
        args.format,
        meta=dict(
            exported_from=os.path.basename(args.checkpoint), amd_mm_version=amd_mm.__version__
        ),
    )
    print(
        f'{published.path}: {len(published.names)} tensors in the names of {args.format} '
        f'(format {published.fmt})'
    )
    if published.left:
        print(f'  left out: {collapse(published.left, brief=True)}')
    print(f'  sha256 {published.digest}')


def export_folder(args: argparse.Namespace) -> None:
    """Write a model folder."""
    source = (args.config, args.checkpoint) if args.config else args.checkpoint
    print(write_model_folder(source, args.out))


def export_model(args: argparse.Namespace) -> None:
    """Write a program and its description."""
    check_request(args.out, args.format, args.force)
    source = (args.config, args.checkpoint) if args.config else args.checkpoint
    cfg, checkpoint = find_source(source)
    if cfg is None:
        raise ConfigError(
            f'give the config of {checkpoint}: there is none beside it '
            '(python tools/export.py CONFIG CHECKPOINT OUT ...)'
        )
    print(f'config: {cfg.filename}')
    cfg.merge_from_dict(args.cfg_options or {})
    build = portable_encoder if args.features else portable_classifier
    model = build(cfg, checkpoint, args.input)
    found = export_program(
        model, args.out, args.format, args.tolerance, facts(args, cfg, model), args.force
    )
    report(model, found)
    if args.check:
        videos, _ = find_inputs(args.check)
        programs = {'fp32': found.path}
        programs |= {one: write_smaller(found.path, one) for one in PRECISIONS}
        rows = measure_agreement(model, programs, videos, stride_of(cfg))
        print(f'\n{len(videos)} videos, {torch.get_num_threads()} threads\n')
        print(agreement_table(rows))


def facts(args: argparse.Namespace, cfg: Config, model: PortableModel) -> dict:
    """Entries of the description about the origin of the model."""
    checkpoint = Path(args.checkpoint)
    entries: dict = dict(
        config=os.path.basename(cfg.filename),
        checkpoint=dict(
            name=checkpoint.name, sha256=file_sha256(checkpoint) if checkpoint.is_file() else None
        ),
        command=args.command,
    )
    loader = cfg.get('test_dataloader') or cfg.get('train_dataloader') or {}
    if pipeline := loader.get('dataset', {}).get('pipeline'):
        entries['pipeline'] = pipeline
    if args.labels is not None:
        entries['labels'] = read_label_map(args.labels, model.num_outputs())
    return entries


def report(model: PortableModel, found: Exported) -> None:
    """Print the files and the difference."""
    shape = ', '.join(map(str, ('batch', *model.size)))
    dtype = str(model.dtype).removeprefix('torch.')
    print(f'{found.path}: {model.input} ({shape}) {dtype} -> {model.output}')
    if found.difference is None:
        print(
            '  NOT compared with the model, as onnxruntime is not installed: '
            'pip install onnxruntime, and export again with --force'
        )
    else:
        largest, scale = found.difference
        print(f'  largest difference from the model {largest:.2g}, outputs up to {scale:.2g}')
    print(f'  described in {found.description}')
    print(f'  sha256 {found.digest}')


def explain(error: Exception, args: argparse.Namespace) -> str:
    """The message of an error; of weights that do not fit, with the remedy first."""
    if not isinstance(error, CheckpointMismatchError):
        return str(error)
    fits = not error.mismatched and not error.unexpected
    if fits and all(one.startswith(_FINE_TUNED) for one in error.missing):
        return (
            f'{args.checkpoint} has no classifier for this config: it is from pre-training or of '
            'another method. Fine-tune it first, or export the encoder alone (--features)'
        )
    return f"{args.checkpoint} is not of the config's model.\n{error}"


def main(argv: list[str] | None = None) -> None:
    """Read the command line, export, and report errors in a sentence."""
    args = parse_args(argv)
    try:
        folder = Path(args.out).parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigError(f'there is no folder {folder} that can be written: create it first')
        if args.format in CODEBASES:
            export_weights(args)
        elif args.format == FOLDER:
            export_folder(args)
        else:
            export_model(args)
    except (CheckpointError, ConfigError, VideoError, OSError) as error:
        sys.exit(f'export.py: {explain(error, args)}')


if __name__ == '__main__':
    main()
