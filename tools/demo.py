r"""What is in a video? The five most likely classes.

    python tools/demo.py VIDEO CHECKPOINT [--labels label_map.txt]
    python tools/demo.py VIDEO CHECKPOINT --out annotated.mp4

CHECKPOINT is a fine-tuned model: of this package, of the public VideoMAE and
AMD programs, of MMAction2 or of Hugging Face. The config that training left
beside it is found by itself; without one, the model is read off the weights,
and the video is looked at in three clips of 16 frames (--clips, --stride).

Exit code: 0, or 2 if something is wrong with the call or the files.
"""

import argparse
import os.path as osp
import sys
from typing import NamedTuple

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
import torch
from amd_mm.checkpoints import CheckpointError, load_into, read_checkpoint, to_amd_mm
from amd_mm.datasets import BACKENDS, UnreadableVideoError
from amd_mm.engine.launch import LaunchError, read_config
from amd_mm.evaluation.clip_encoder import (
    ArchitectureError,
    ClipSampling,
    choose_device,
    find_config,
    infer_backbone,
)
from amd_mm.evaluation.label_map import LabelMapError, check_label_map, read_label_map
from amd_mm.registry import MODELS
from amd_mm.visualization.video import check_output, write_annotated_video
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from torch import Tensor

TOP = 5
_CLASSIFIER = 'cls_head.fc_cls.weight'


class DemoError(Exception):
    """Something that the user has to change."""


class Recognizer(NamedTuple):
    """A model and how it wants to see a video.

    Attributes:
        model (nn.Module): In evaluation mode, on its device.
        pipeline (Compose): From a file name to a packed sample.
        num_classes (int): That it tells apart.
    """

    model: torch.nn.Module
    pipeline: Compose
    num_classes: int


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('video')
    parser.add_argument('checkpoint', help='a file, folder or address')
    parser.add_argument(
        '--config',
        help="the model's config (default: the one beside the checkpoint, or read off the weights)",
    )
    parser.add_argument(
        '--labels', metavar='FILE', help='class names: a text file with one a line, or .json'
    )
    parser.add_argument('--out', metavar='FILE', help='annotated video: .mp4 or .gif')
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument('--backend', choices=list(BACKENDS), default='decord')
    group = parser.add_argument_group('for models without a config')
    group.add_argument('--clips', type=int, default=3, help='evenly spaced (3)')
    group.add_argument(
        '--stride',
        type=int,
        default=4,
        help='from one frame of a clip to the next (4); 0 for models of '
        'Something-Something: one frame from each equal part',
    )
    group.add_argument('--frames', type=int, help='of a clip (16)')
    group.add_argument('--heads', type=int, help='if they are not 64 wide')
    args = parser.parse_args(argv)
    if args.clips < 1 or args.stride < 0:
        parser.error('--clips must be at least 1 and --stride at least 0')
    return args


def build(args: argparse.Namespace) -> Recognizer:
    """The recogniser of a checkpoint.

    Raises:
        DemoError: If checkpoint or config have no classifier.
        CheckpointError: If they do not fit, or the file cannot be read.
        ArchitectureError: If the model cannot be told from the weights.
    """
    state = to_amd_mm(read_checkpoint(args.checkpoint)).state
    if _CLASSIFIER not in state:
        raise DemoError(
            f'{args.checkpoint} has no classifier: it is a pre-trained model. '
            'Fine-tune it first (configs/amd/recognition), or look at what it '
            'reconstructs or at its features (tools/extract_features.py)'
        )
    path = args.config or find_config(args.checkpoint)
    if path is None:
        return _from_weights(args, state)
    if not osp.isfile(path):
        raise DemoError(f'there is no config file {path}')
    print(f'config: {path}')
    return _from_config(args, read_config(path))


def _from_config(args: argparse.Namespace, cfg: Config) -> Recognizer:
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model_cfg = cfg.get('model') or {}
    if not model_cfg.get('cls_head') or not cfg.get('test_dataloader'):
        raise DemoError(
            f'{cfg.filename} is not of a recogniser: it needs model.cls_head and test_dataloader'
        )
    model_cfg.backbone.pop('pretrained', None)
    model_cfg.backbone.pop('init_cfg', None)
    model_cfg.cls_head.average_clips = 'prob'
    model = MODELS.build(model_cfg)
    load_into(model, args.checkpoint, logger='silent')
    return Recognizer(
        model.to(choose_device(args.device)).eval(),
        Compose(cfg.test_dataloader.dataset.pipeline),
        model_cfg.cls_head.num_classes,
    )


def _from_weights(args: argparse.Namespace, state: dict) -> Recognizer:
    backbone = infer_backbone(state, args.frames, heads=args.heads)
    num_classes, width = state[_CLASSIFIER].shape
    head = dict(
        type='mmaction.TimeSformerHead',
        num_classes=num_classes,
        in_channels=width,
        average_clips='prob',
    )
    if 'cls_head.norm.running_mean' in state:  # a linear probe of ours
        head['type'] = 'amd_mm.LinearProbeHead'
        backbone['return_feat_map'] = True
    model = MODELS.build(
        dict(
            type='mmaction.Recognizer3D',
            backbone=backbone,
            cls_head=head,
            data_preprocessor=dict(
                type='mmaction.ActionDataPreprocessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                format_shape='NCTHW',
            ),
        )
    )
    load_into(model, state, fmt='amd_mm', name=args.checkpoint, logger='silent')
    sampling = ClipSampling(
        frames=args.frames or backbone['num_frames'],
        stride=args.stride or None,
        clips=args.clips,
        size=backbone['img_size'],
    )
    print(
        f'read off the weights: {backbone["depth"]} blocks, '
        f'{backbone["embed_dims"]} wide, {backbone["num_heads"]} heads, '
        f'{num_classes} classes; {sampling}'
    )
    return Recognizer(
        model.to(choose_device(args.device)).eval(),
        Compose(sampling.pipeline(args.backend)),
        num_classes,
    )


def recognise(recognizer: Recognizer, video: str) -> Tensor:
    """Probabilities of the classes.

    Args:
        recognizer (Recognizer): From :func:`build`.
        video (str): A file.

    Returns:
        Tensor: (num_classes, ), on the CPU; the sum is 1.

    Raises:
        UnreadableVideoError: If it cannot be read.
    """
    # Here: MMAction2's `apis` take seconds to import.
    from mmaction.apis import inference_recognizer

    if not osp.isfile(video):
        raise DemoError(f'there is no video {video}')
    result = inference_recognizer(recognizer.model, video, recognizer.pipeline)
    return result.pred_score.float().cpu()


def run(args: argparse.Namespace) -> None:
    """Recognise, print and write."""
    if args.out is not None:
        check_output(args.out)
    labels = read_label_map(args.labels) if args.labels else None
    recognizer = build(args)
    if labels is None:
        labels = [f'class {i}' for i in range(recognizer.num_classes)]
    else:
        check_label_map(labels, recognizer.num_classes, args.labels)
    scores = recognise(recognizer, args.video)
    values, index = scores.topk(min(TOP, len(scores)))
    rows = [(labels[i], value) for i, value in zip(index.tolist(), values.tolist())]
    print(f'{args.video}:')
    for name, value in rows:
        print(f'  {100 * value:5.1f} %  {name}')
    if args.out is not None:
        write_annotated_video(args.video, args.out, rows, args.backend)
        print(f'wrote {args.out}')


def main(argv: list[str] | None = None) -> int:
    """Read the command line, run, and say what is wrong with it."""
    args = parse_args(argv)
    try:
        run(args)
    except (
        ArchitectureError,
        CheckpointError,
        DemoError,
        LabelMapError,
        LaunchError,
        UnreadableVideoError,
        ImportError,
        OSError,
        ValueError,
    ) as error:
        print(f'demo.py: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
