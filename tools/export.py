#!/usr/bin/env python
r"""Export a trained model: to a phone, to a server, to another codebase.

As a program, which needs nothing of this package (--format onnx, torchscript
or pt2): one input, named and described in OUT.json beside it; the batch may
have any size. It is compared with the PyTorch model before it gets its name.

    python tools/export.py CONFIG CHECKPOINT model.onnx --format onnx
    python tools/export.py CONFIG CHECKPOINT vit.pt --format torchscript \
        --features

As weights of the bare backbone (--format mmaction, mmpretrain, timm or
huggingface), in that codebase's names; vit.pth becomes vit-1a2b3c4d.pth, with
the first digits of its sha256.

    python tools/export.py CHECKPOINT vit.pth --format timm

CONFIG may be left out where training left it beside the checkpoint; weights
need none. A program looks at one clip: the mean over several views of a video
is up to the caller. tools/convert_checkpoint.py converts whole checkpoints.

Exit code: 0, 1 if something is wrong with the files or the program does not
compute what the model does (nothing is left behind), 2 for a wrong call.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

import amd_mm
from amd_mm.checkpoints import (
    CODEBASES,
    CheckpointError,
    CheckpointMismatchError,
    collapse,
    file_sha256,
    publish_encoder,
    read_checkpoint,
)
from amd_mm.deployment import (
    INPUTS,
    PROGRAM_FORMATS,
    Exported,
    ExportError,
    PortableModel,
    build_classifier,
    build_encoder,
    check_request,
    export_program,
)
from amd_mm.engine import launch
from amd_mm.evaluation.clip_encoder import ArchitectureError, find_config, is_config
from amd_mm.evaluation.label_map import LabelMapError, check_label_map, read_label_map
from mmengine.config import Config, DictAction

# What pre-training leaves to fine-tuning.
_FINE_TUNED = ('cls_head.', 'head.', 'backbone.fc_norm.', 'backbone.ln2.')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('files', nargs='+', metavar='[CONFIG] CHECKPOINT OUT', help='see above')
    parser.add_argument(
        '--format',
        required=True,
        choices=(*PROGRAM_FORMATS, *CODEBASES),
        help='a program or a codebase',
    )
    group = parser.add_argument_group('for programs')
    group.add_argument(
        '--features',
        action='store_true',
        help='the bare backbone, pre-trained or fine-tuned: features, not scores',
    )
    group.add_argument(
        '--input',
        choices=INPUTS,
        default='uint8',
        help='uint8: pixels as they are, normalised by the program (default); '
        'normalised: float32, normalised by the caller',
    )
    group.add_argument(
        '--labels',
        metavar='FILE',
        help='class names for OUT.json: a text file with one a line, or .json',
    )
    group.add_argument(
        '--tolerance',
        type=float,
        default=1e-4,
        help='largest difference from the model, as a share of its largest output (1e-4)',
    )
    group.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override entries of the config: key=value',
    )
    group.add_argument('--force', action='store_true', help='replace an existing OUT')
    args = parser.parse_args(argv)
    if not 2 <= len(args.files) <= 3:
        parser.error('give [CONFIG] CHECKPOINT OUT, two or three of them')
    *config, args.checkpoint, args.out = args.files
    args.config = config[0] if config else None
    if args.format in CODEBASES:
        _refuse_program_options(parser, args)
    elif args.features and args.labels:
        parser.error('--labels is for scores, not for --features')
    args.command = shlex.join(['tools/export.py', *(argv or sys.argv[1:])])
    return args


def _refuse_program_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for name in ('config', 'features', 'input', 'labels', 'tolerance', 'cfg_options', 'force'):
        if getattr(args, name) != parser.get_default(name):
            what = 'CONFIG' if name == 'config' else f'--{name}'
            parser.error(
                f'{what.replace("_", "-")} is for programs; --format {args.format} writes weights'
            )


def export_weights(args: argparse.Namespace) -> Path:
    """Write the bare backbone in a codebase's names."""
    published = publish_encoder(
        read_checkpoint(args.checkpoint),
        args.out,
        args.format,
        meta=dict(
            exported_from=os.path.basename(args.checkpoint), amd_mm_version=amd_mm.__version__
        ),
    )
    print(
        f'{published.path}: {len(published.names)} tensors in the names of '
        f'{args.format} (format {published.fmt})'
    )
    if published.left:
        print(f'  left out: {collapse(published.left, brief=True)}')
    print(f'  sha256 {published.digest}')
    return published.path


def load_config(args: argparse.Namespace) -> Config:
    """The config that was given, or lies beside the checkpoint.

    Raises:
        launch.LaunchError: If there is none.
    """
    path = args.config or find_config(args.checkpoint)
    if path is None:
        raise launch.LaunchError(
            f'give the config of {args.checkpoint}: there is none beside it '
            '(python tools/export.py CONFIG CHECKPOINT OUT ...)'
        )
    if not is_config(path):
        raise launch.LaunchError(
            f'{path} is no config file (.py): the order is CONFIG CHECKPOINT OUT'
        )
    launch.check_config_path(path)
    if args.config is None:
        print(f'config: {path}')
    cfg = launch.read_config(path)
    cfg.merge_from_dict(args.cfg_options or {})
    return cfg


def export_model(args: argparse.Namespace) -> Exported:
    """Write a program and its description."""
    check_request(args.out, args.format, args.force)
    cfg = load_config(args)
    build = build_encoder if args.features else build_classifier
    model = build(cfg, args.checkpoint, args.input)
    found = export_program(
        model, args.out, args.format, args.tolerance, _facts(args, cfg, model), args.force
    )
    _report(args, model, found)
    return found


def _facts(args: argparse.Namespace, cfg: Config, model: PortableModel) -> dict:
    """What the description says of where the model comes from."""
    checkpoint = Path(args.checkpoint)
    facts: dict = dict(
        config=os.path.basename(cfg.filename),
        checkpoint=dict(
            name=checkpoint.name, sha256=file_sha256(checkpoint) if checkpoint.is_file() else None
        ),
        command=args.command,
    )
    loader = cfg.get('test_dataloader') or cfg.get('train_dataloader') or {}
    if pipeline := loader.get('dataset', {}).get('pipeline'):
        facts['pipeline'] = pipeline
    if args.labels is not None:
        names = read_label_map(args.labels)
        check_label_map(names, model.num_outputs(), args.labels)
        facts['labels'] = names
    return facts


def _report(args: argparse.Namespace, model: PortableModel, found: Exported) -> None:
    shape = ', '.join(map(str, ('batch', *model.size)))
    print(
        f'{found.path}: {model.input} ({shape}) '
        f'{str(model.dtype).removeprefix("torch.")} -> {model.output}'
    )
    if found.difference is None:
        program = PROGRAM_FORMATS[args.format].checked_by
        print(
            f'  NOT compared with the model, as {program} is not installed: '
            f'pip install {program}, and export again with --force'
        )
    else:
        largest, scale, batches = found.difference
        print(
            f'  largest difference from the model {largest:.2g}, outputs up '
            f'to {scale:.2g} (batches of {" and ".join(map(str, batches))})'
        )
    print(f'  described in {found.sidecar}')
    print(f'  sha256 {found.digest}')


def check_folder(out: str) -> None:
    """See that files can be written.

    Raises:
        launch.LaunchError: If the folder is not there, or not writable.
    """
    folder = Path(out).parent
    if not folder.is_dir():
        raise launch.LaunchError(
            f'there is no folder {folder} to write {Path(out).name} to: make '
            'it first, or give another OUT'
        )
    if not os.access(folder, os.W_OK):
        raise launch.LaunchError(f'the folder {folder} is not writable')


def explain(error: CheckpointError, args: argparse.Namespace) -> str:
    """In a sentence, before the loader's list of names."""
    if not isinstance(error, CheckpointMismatchError):
        return str(error)
    fits = not error.mismatched and not error.unexpected
    if fits and all(one.startswith(_FINE_TUNED) for one in error.missing):
        return (
            f'{args.checkpoint} has no classifier for this config: it is from '
            'pre-training or of another method. Fine-tune it first, or export '
            'the encoder alone (--features)'
        )
    return f"{args.checkpoint} is not of the config's model.\n{error}"


def main(argv: list[str] | None = None) -> None:
    """Read the command line, export, and say what is wrong with it."""
    args = parse_args(argv)
    try:
        check_folder(args.out)
        if args.format in CODEBASES:
            export_weights(args)
        else:
            export_model(args)
    except CheckpointError as error:
        sys.exit(f'export.py: {explain(error, args)}')
    except (launch.LaunchError, ArchitectureError, ExportError, LabelMapError, OSError) as error:
        sys.exit(f'export.py: {error}')


if __name__ == '__main__':
    main()
