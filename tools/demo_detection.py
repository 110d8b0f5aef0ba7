r"""Detect the actions of each person in a video and draw them.

    python tools/demo_detection.py VIDEO CHECKPOINT --out annotated.mp4 \
        --proposals people.csv --labels ava_action_list_v2.2.pbtxt
    python tools/demo_detection.py VIDEO CHECKPOINT --frames FOLDER \
        --detector-config mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py \
        --detector-checkpoint CHECKPOINT_OR_ADDRESS

CHECKPOINT is an action detector (configs/amd/detection). The config that training left beside it
is used; otherwise this package's config for a ViT of its width. The boxes of people come from a
file (the pickle that tools/data/ava writes, or a csv that csv_to_proposals.py there reads) or
from a person detector of mmdet. A second of a file is a second of the video; use --starts-at 900
for videos cut as AVA's.

The model sees a clip around each such second; its actions are shown until halfway to the next.

Exit code: 0, or 2 if something is wrong with the call or the files.
"""

import argparse
import os.path as osp
import sys
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
import numpy as np
import torch
from amd_mm.apis import choose_device, find_source, load_model, read_config, video_steps
from amd_mm.checkpoints import read_checkpoint, unwrap
from amd_mm.datasets import BACKENDS, open_video
from amd_mm.datasets.ava_files import read_box_csv, read_label_map, read_proposals, some_of
from amd_mm.errors import CheckpointError, ConfigError, VideoError
from amd_mm.visualization.video import (
    Person,
    check_output,
    draw_people,
    legible_size,
    rewrite_video,
)
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from mmengine.utils import track_iter_progress
from PIL import Image

_CLASSIFIER = 'roi_head.bbox_head.fc_cls.weight'
_PATCH_WEIGHT = 'backbone.patch_embed.projection.weight'
_CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'amd/detection'
_CONFIG = 'amd_vit-{}-p16_8xb16-16x4x1-30e_ava22.py'
_SIZES = {384: 'small', 768: 'base'}

Boxes = dict[float, np.ndarray]
"""Seconds into the video -> (N, 4 or 5): corners as shares of the frame, and confidence."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('video')
    add('checkpoint', help='a file or address')
    add('--config', help="the model's config (default: see above)")
    add('--labels', metavar='FILE', help="AVA's action list, .pbtxt (default: the config's)")
    add('--device', help='default: the GPU if there is one')
    add('--backend', choices=list(BACKENDS), default='pyav')
    add = parser.add_argument_group('boxes of people (a file or a detector)').add_argument
    add('--proposals', metavar='FILE', help='boxes: .pkl, or else a csv')
    add('--video-id', help='name of the video in the file (default: its name without ending)')
    add('--starts-at', type=int, default=0, metavar='SECOND', help='of the first frame (0)')
    add('--pixels', action='store_true', help="the csv's corners are pixels")
    add('--detector-config', help='of mmdet')
    add('--detector-checkpoint')
    add('--category', type=int, default=0, help="the person's class in the detector (0)")
    add('--confidence', type=float, help="least confidence of a box (default: the config's)")
    add = parser.add_argument_group('output').add_argument
    add('--out', metavar='FILE', help='video: .mp4 or .gif')
    add('--frames', metavar='FOLDER', help='a PNG of each time')
    add(
        '--every',
        type=float,
        default=1.0,
        metavar='SECONDS',
        help='from one clip to the next (1); with a file, only seconds that it has',
    )
    add('--threshold', type=float, default=0.3, help='least probability of an action (0.3)')
    add('--top', type=int, default=5, help='actions of a person (5)')
    args = parser.parse_args(argv)
    detector = args.detector_config, args.detector_checkpoint
    if None in detector and any(detector):
        parser.error('--detector-config and --detector-checkpoint belong together')
    if (args.proposals is None) == (None in detector):
        parser.error('either --proposals, or --detector-config and --detector-checkpoint')
    if args.out is None and args.frames is None:
        parser.error('nothing to write: --out FILE or --frames FOLDER')
    if args.every <= 0 or args.top < 1:
        parser.error('--every has to be above 0, and --top at least 1')
    return args


# -- the action detector -----------------------------------------------------------------------


def load_detector(args: argparse.Namespace) -> tuple[Any, Config]:
    """The action detector of a checkpoint, and its config."""
    for name in ('mmdet', 'mmcv.ops'):
        try:
            import_module(name)
        except (ImportError, AssertionError) as error:
            raise ImportError(
                f'action detection needs mmdet and an mmcv with compiled ops: {name} does not '
                f'import ({error}). Install both with tools/install.sh, or see '
                'requirements/detection.txt'
            ) from error
    state = unwrap(read_checkpoint(args.checkpoint))
    if not any(name.startswith('roi_head.') for name in state):
        classifies = any(name.startswith('cls_head.') for name in state)
        raise CheckpointError(
            f'{args.checkpoint} has no roi_head: it is of '
            f'{"a recogniser" if classifies else "pre-training"}, not of an action detector. '
            'Train one from it (configs/amd/detection), or use tools/demo.py'
        )
    cfg, _ = find_source((args.config, args.checkpoint) if args.config else args.checkpoint)
    cfg = cfg or config_for(state, args.checkpoint)
    print(f'config: {cfg.filename}')
    if not (cfg.get('model') or {}).get('roi_head') or not cfg.get('test_dataloader'):
        raise ConfigError(
            f'{cfg.filename} is not of an action detector: it needs model.roi_head and '
            'test_dataloader'
        )
    return load_model((cfg, args.checkpoint), args.device), cfg


def config_for(state: dict, checkpoint: str) -> Config:
    """This package's config for weights, with their number of classes."""
    width = state[_PATCH_WEIGHT].shape[0] if _PATCH_WEIGHT in state else None
    if width not in _SIZES or _CLASSIFIER not in state:
        raise ConfigError(
            f'there is no config beside {checkpoint}, and this package has one only for a ViT-S '
            'or ViT-B: give --config'
        )
    cfg = Config.fromfile(str(_CONFIGS / _CONFIG.format(_SIZES[width])))
    head = cfg.model.roi_head.bbox_head
    head.num_classes = len(state[_CLASSIFIER])
    if head.num_classes < 6:
        head.topk = (1,)
    return cfg


def clip_pipeline(cfg: Config, backend: str) -> list:
    """The test pipeline for a video, with one clip around a given time."""
    samplers = ('SampleAVAClip', 'SampleAVAFrames')
    steps = [
        dict(step, type='amd_mm.SampleAVAClip', test_mode=True)
        if str(step['type']).split('.')[-1] in samplers
        else step
        for step in cfg.test_dataloader.dataset.pipeline
    ]
    return video_steps(steps, backend)


@torch.no_grad()
def score_actions(
    model: Any, pipeline: Compose, fps: int, video: str, time: float, boxes: np.ndarray
) -> np.ndarray:
    """Probabilities (N, actions) of the people in N boxes, at a time in seconds."""
    corners = boxes[:, :4].astype(np.float32)
    sample = pipeline(
        dict(
            filename=video,
            modality='RGB',
            start_index=0,
            fps=fps,
            timestamp=time,
            timestamp_start=0,
            shot_info=None,
            # not compared, but the boxes are scaled with them
            gt_bboxes=corners,
            gt_labels=np.zeros((len(corners), 1), np.float32),
            proposals=corners,
        )
    )
    result = model.test_step(pseudo_collate([sample]))[0]
    return result.pred_instances.scores[:, 1:].float().cpu().numpy()  # without the background


# -- the people --------------------------------------------------------------------------------


def boxes_from_file(args: argparse.Namespace, size: tuple[int, int], duration: float) -> Boxes:
    """Read the boxes of the video from a file, for all its seconds that the file has.

    Args:
        args: the command line.
        size: width and height of the video, pixels.
        duration: of the video, seconds.
    """
    path = args.proposals
    if path.lower().endswith(('.pkl', '.pickle')):
        if args.pixels:
            raise ConfigError('--pixels is for a csv; the boxes of a pickle are shares')
        proposals = read_proposals(path)
    else:
        proposals = read_box_csv(path, size=size if args.pixels else None).proposals
    video = args.video_id or osp.splitext(osp.basename(args.video))[0]
    found = {}
    for key, boxes in proposals.items():
        name, _, time = key.rpartition(',')
        if name == video:
            found[int(time) - args.starts_at] = boxes
    if not found:
        names = {key.rpartition(',')[0] for key in proposals}
        raise VideoError(
            f'{path} has no boxes of {video!r}; give one of its videos with --video-id: '
            f'{some_of(names)}'
        )
    inside = {time: found[time] for time in found if 0 <= time <= duration}
    if not inside:
        times = [time + args.starts_at for time in found]
        raise VideoError(
            f'{path} has boxes of {video!r} at {min(times)} to {max(times)} s, but the video '
            f'lasts from {args.starts_at} to {args.starts_at + duration:.1f} s: give the '
            'timestamp of its first frame with --starts-at'
        )
    if len(inside) < len(found):
        print(f'{len(found) - len(inside)} of {len(found)} seconds with boxes are not in the video')
    return inside


def boxes_from_detector(
    args: argparse.Namespace, times: Sequence[float], size: tuple[int, int]
) -> Boxes:
    """Detect people with a detector of mmdet at each of these times."""
    from mmaction.apis import detection_inference

    name = args.detector_config
    with open_video(args.video, args.backend) as reader:
        # mmdet's pipelines expect BGR, as from a file
        frames = (np.ascontiguousarray(frame_at(reader, time)[..., ::-1]) for time in times)
        found, _ = detection_inference(
            get_config(name) if '::' in name else read_config(name),
            args.detector_checkpoint,
            (frames, len(times)),
            det_score_thr=-1,
            det_cat_id=args.category,
            device=choose_device(args.device),
            with_score=True,
        )
    scale = np.array([*size, *size])
    return {
        time: np.column_stack([(boxes[:, :4] / scale).clip(0, 1), boxes[:, 4]])
        for time, boxes in zip(times, found)
    }


def frame_at(reader: Any, time: float) -> np.ndarray:
    """The frame (H, W, 3) of a time in seconds."""
    return reader.read([min(round(time * reader.avg_fps), len(reader) - 1)])[0]


def spaced(times: Sequence[float], every: float) -> list[float]:
    """The times that are at least so far apart."""
    chosen: list[float] = []
    for time in sorted(times):
        if not chosen or time - chosen[-1] >= every - 1e-6:
            chosen.append(time)
    return chosen


# -- from a video to a video -------------------------------------------------------------------


def run(args: argparse.Namespace) -> None:
    """Find people, recognise their actions, draw and write."""
    if args.out is not None:
        check_output(args.out)
    with open_video(args.video, args.backend) as reader:
        fps, count = reader.avg_fps, len(reader)
        height, width = reader.read([0])[0].shape[:2]
    if fps <= 0:
        raise VideoError(f'{args.video} does not say its frame rate')
    names = read_label_map(args.labels) if args.labels else None
    model, cfg = load_detector(args)
    dataset = cfg.test_dataloader.dataset
    confidence = args.confidence
    if confidence is None:
        confidence = dataset.get('person_det_score_thr', 0.9)
    if args.proposals:
        found = boxes_from_file(args, (width, height), count / fps)
        found = {time: found[time] for time in spaced(list(found), args.every)}
    else:
        times = np.arange(0, count / fps, args.every).tolist()
        found = boxes_from_detector(args, times, (width, height))
    found = {
        time: boxes if boxes.shape[1] == 4 else boxes[boxes[:, 4] >= confidence]
        for time, boxes in found.items()
    }
    total = sum(map(len, found.values()))
    print(f'{total} people of confidence {confidence:g} at {len(found)} times')
    if not total:
        raise VideoError(
            f'no person has a confidence of {confidence:g} or more: lower --confidence'
        )
    if names is None and dataset.get('label_file') and osp.isfile(dataset.label_file):
        names = read_label_map(dataset.label_file)
    if names is None:
        print('actions are shown as numbers: give their names with --labels')
    with DefaultScope.overwrite_default_scope('mmaction'):
        people = find_actions(args, model, cfg, names or {}, found)
    report(people)
    write(args, people)


def find_actions(
    args: argparse.Namespace, model: Any, cfg: Config, names: dict[int, str], found: Boxes
) -> dict[float, list[Person]]:
    """The people at each time, with their most likely actions."""
    dataset = cfg.test_dataloader.dataset
    pipeline = Compose(clip_pipeline(cfg, args.backend))
    # class 0 is the background
    labels = dataset.get('custom_classes') or range(1, model.roi_head.bbox_head.num_classes)
    people: dict[float, list[Person]] = {}
    for time, boxes in track_iter_progress((found.items(), len(found)), file=sys.stderr):
        people[time] = []
        if not len(boxes):
            continue
        scores = score_actions(model, pipeline, dataset.get('fps', 30), args.video, time, boxes)
        for box, row in zip(boxes, scores):
            order = np.argsort(-row, kind='stable')[: args.top]
            actions = [
                (names.get(labels[at], f'action {labels[at]}'), float(row[at]))
                for at in order
                if row[at] >= args.threshold
            ]
            people[time].append(Person(box[:4], actions))
    return people


def report(people: dict[float, list[Person]]) -> None:
    """Print the most frequent actions."""
    counts = Counter(
        name for group in people.values() for person in group for name, _ in person.actions
    )
    total = sum(map(len, people.values()))
    if not counts:
        print('no action is that probable; see --threshold')
    for name, count in counts.most_common(10):
        print(f'  {count:4d} of {total}  {name}')


def write(args: argparse.Namespace, people: dict[float, list[Person]]) -> None:
    """Write the video and the frames."""
    if args.frames is not None:
        write_pngs(args, people)
        print(f'wrote {len(people)} pictures to {args.frames}')
    if args.out is not None:
        times = sorted(people)

        def draw(frame: np.ndarray, time: float) -> np.ndarray:
            shown = nearest(times, time, args.every)
            return frame if shown is None else draw_people(frame, people[shown])

        rewrite_video(args.video, args.out, draw, args.backend)
        print(f'wrote {args.out}')


def nearest(times: Sequence[float], time: float, every: float) -> float | None:
    """The nearest of ascending times; None if it is further away than half of ``every``."""
    place = bisect(times, time)
    near = min(times[max(place - 1, 0) : place + 1], key=lambda one: abs(one - time))
    return near if abs(near - time) <= every / 2 + 1e-6 else None


def write_pngs(args: argparse.Namespace, people: dict[float, list[Person]]) -> None:
    """Write a PNG of each time: ``NAME_0902.png``, with the timestamp of the file."""
    folder = Path(args.frames)
    folder.mkdir(parents=True, exist_ok=True)
    with open_video(args.video, args.backend) as reader:
        for time, group in people.items():
            whole, _, rest = f'{time + args.starts_at:.2f}'.partition('.')
            rest = rest.rstrip('0')
            name = f'{Path(args.video).stem}_{whole:0>4}{"." if rest else ""}{rest}.png'
            picture = draw_people(legible_size(frame_at(reader, time)), group)
            Image.fromarray(picture).save(folder / name)


def main(argv: list[str] | None = None) -> int:
    """Read the command line, run, and report errors in a sentence."""
    args = parse_args(argv)
    try:
        run(args)
    except (ConfigError, CheckpointError, VideoError, ImportError, OSError) as error:
        print(f'demo_detection.py: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
