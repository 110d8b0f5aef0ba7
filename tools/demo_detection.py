r"""Detect the actions of each person in a video and draw them.

    python tools/demo_detection.py VIDEO CHECKPOINT --out annotated.mp4 \
        --proposals people.csv --labels ava_action_list_v2.2.pbtxt
    python tools/demo_detection.py VIDEO CHECKPOINT --frames FOLDER \
        --detector-config mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py \
        --detector-checkpoint CHECKPOINT_OR_ADDRESS

CHECKPOINT is an action detector (configs/amd/detection); the config that training left beside it is
found. The boxes of people come from a file (the pickle that tools/data/ava writes, or a csv as
csv_to_proposals.py there reads it) or from a detector of mmdet. A second of a file is a second of
the video; use --starts-at 900 for videos cut as AVA's.

The model sees a clip around each such second; its actions are shown until halfway to the next.

Exit code: 0, or 2 if something is wrong with the call or the files.
"""

import argparse
import os.path as osp
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
import numpy as np
import torch
from amd_mm.apis import choose_device, find_source, load_model, read_config
from amd_mm.datasets import BACKENDS, open_video
from amd_mm.datasets.ava_files import read_label_map, read_proposals, some_of
from amd_mm.datasets.detector_boxes import read_box_csv
from amd_mm.datasets.inference import video_steps
from amd_mm.errors import CheckpointError, ConfigError, VideoError
from amd_mm.registry import type_name
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

Boxes = dict[float, np.ndarray]
"""Seconds into the video -> (N, 4 or 5): corners as shares of the frame, and confidence."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('video')
    add('checkpoint', help='a file, training folder or address')
    add('--config', help="the model's config (default: the one beside the checkpoint)")
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


def load_detector(args: argparse.Namespace) -> tuple[Any, Config]:
    """The action detector of a checkpoint, and the config of its test set."""
    try:
        import_module('mmdet')
    except (ImportError, AssertionError) as error:
        raise ImportError(
            f'action detection needs mmdet ({error}): run bash tools/install.sh'
        ) from error
    cfg, checkpoint = find_source(
        (args.config, args.checkpoint) if args.config else args.checkpoint
    )
    if cfg is None:
        raise ConfigError(f'there is no config beside {checkpoint}: give it with --config')
    print(f'config: {cfg.filename}')
    if not (cfg.get('model') or {}).get('roi_head') or not cfg.get('test_dataloader'):
        raise ConfigError(
            f'{cfg.filename} is not of an action detector: it needs model.roi_head and '
            'test_dataloader. Train one (configs/amd/detection); tools/demo.py is for recognisers'
        )
    return load_model((cfg, checkpoint), args.device), cfg.test_dataloader.dataset


# -- the people --------------------------------------------------------------------------------


def boxes_from_file(args: argparse.Namespace, size: tuple[int, int], duration: float) -> Boxes:
    """Read the boxes of the video from a file.

    Args:
        args: the command line.
        size: width and height of the video, pixels.
        duration: of the video, seconds.
    """
    path = args.proposals
    if path.lower().endswith(('.pkl', '.pickle')):
        proposals = read_proposals(path)
    else:
        proposals = read_box_csv(path, size if args.pixels else None).proposals
    video = args.video_id or Path(args.video).stem
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
    if len(inside) < len(found):
        times = [time + args.starts_at for time in found]
        text = (
            f'{len(found) - len(inside)} of {len(found)} seconds with boxes are not in the video: '
            f'{path} has {min(times)} to {max(times)} s, and the video lasts from {args.starts_at} '
            f'to {args.starts_at + duration:.1f} s. --starts-at is the timestamp of its first frame'
        )
        if not inside:
            raise VideoError(text)
        print(text)
    return {time: inside[time] for time in spaced(inside, args.every)}


def spaced(times: Iterable[float], every: float) -> list[float]:
    """The times that are at least so far apart."""
    chosen: list[float] = []
    for time in sorted(times):
        if not chosen or time - chosen[-1] >= every - 1e-6:
            chosen.append(time)
    return chosen


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
    return {
        time: np.column_stack([(boxes[:, :4] / np.tile(size, 2)).clip(0, 1), boxes[:, 4]])
        for time, boxes in zip(times, found)
    }


def frame_at(reader: Any, time: float) -> np.ndarray:
    """The frame (H, W, 3) of a time in seconds."""
    return reader.read([reader.positions_at(time)])[0]


# -- their actions -----------------------------------------------------------------------------


def clip_pipeline(dataset: Config, backend: str) -> list:
    """The test pipeline for a video, with one clip around a given time."""
    samplers = ('SampleAVAClip', 'SampleAVAFrames')
    steps = [
        dict(step, type='amd_mm.SampleAVAClip', test_mode=True)
        if type_name(step) in samplers
        else step
        for step in dataset.pipeline
    ]
    return video_steps(steps, backend)


def find_actions(
    args: argparse.Namespace, model: Any, dataset: Config, found: Boxes
) -> dict[float, list[Person]]:
    """The people at each time, with their most likely actions."""
    names = action_names(args.labels, dataset)
    pipeline = Compose(clip_pipeline(dataset, args.backend))
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


def action_names(path: str | None, dataset: Config) -> dict[int, str]:
    """Names by label, from a file or else from the config's, if it is there."""
    if path is None and osp.isfile(dataset.get('label_file') or ''):
        path = dataset.label_file
    if path is None:
        print('actions are shown as numbers: give their names with --labels')
    return {} if path is None else read_label_map(path)


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


# -- from a video to a video -------------------------------------------------------------------


def run(args: argparse.Namespace) -> None:
    """Find people, recognise their actions, draw and write."""
    if args.out is not None:
        check_output(args.out)
    with open_video(args.video, args.backend) as reader:
        duration = reader.duration
        height, width = reader.read([0])[0].shape[:2]
    model, dataset = load_detector(args)
    if args.proposals:
        found = boxes_from_file(args, (width, height), duration)
    else:
        times = np.arange(0, duration, args.every).tolist()
        found = boxes_from_detector(args, times, (width, height))
    confidence = args.confidence
    if confidence is None:
        confidence = dataset.get('person_det_score_thr', 0.9)
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
    with DefaultScope.overwrite_default_scope('mmaction'):
        people = find_actions(args, model, dataset, found)
    counts = Counter(
        name for group in people.values() for person in group for name, _ in person.actions
    )
    for name, number in counts.most_common(10):
        print(f'  {number:4d} of {total}  {name}')
    if not counts:
        print('no action is that probable; see --threshold')
    write(args, people)


def write(args: argparse.Namespace, people: dict[float, list[Person]]) -> None:
    """Write the frames, as ``NAME_0902.png`` with the timestamp of the file, and the video."""
    if args.frames is not None:
        folder = Path(args.frames)
        folder.mkdir(parents=True, exist_ok=True)
        digits = '04.0f' if args.every.is_integer() else '07.2f'
        with open_video(args.video, args.backend) as reader:
            for time, group in people.items():
                name = f'{Path(args.video).stem}_{time + args.starts_at:{digits}}.png'
                picture = draw_people(legible_size(frame_at(reader, time)), group)
                Image.fromarray(picture).save(folder / name)
        print(f'wrote {len(people)} pictures to {folder}')
    if args.out is not None:

        def draw(frame: np.ndarray, time: float) -> np.ndarray:
            nearest = min(people, key=lambda one: abs(one - time))
            shown = abs(nearest - time) <= args.every / 2
            return draw_people(frame, people[nearest]) if shown else frame

        rewrite_video(args.video, args.out, draw, args.backend)
        print(f'wrote {args.out}')


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
