r"""Who does what in a video? Boxes and actions, drawn over time.

    python tools/demo_detection.py VIDEO CHECKPOINT --out annotated.mp4 \
        --proposals people.csv --labels ava_action_list_v2.2.pbtxt
    python tools/demo_detection.py VIDEO CHECKPOINT --frames FOLDER \
        --detector-config mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py \
        --detector-checkpoint CHECKPOINT_OR_ADDRESS

CHECKPOINT is an action detector (configs/amd/detection). The config that
training left beside it is found by itself; else this package's config for a
ViT of its width is taken. Where people are comes from a file (the pickle that
tools/data/ava writes, or a csv that csv_to_proposals.py there reads) or from a
person detector of mmdet. A second of a file is a second of the video;
--starts-at 900 for videos cut as AVA's.

A clip around each such second is looked at; what it shows stays in the
picture until the middle between two.

Exit code: 0, or 2 if something is wrong with the call or the files.
"""

import argparse
import os.path as osp
import sys
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
import numpy as np
from amd_mm.checkpoints import CheckpointError
from amd_mm.datasets import BACKENDS, open_video
from amd_mm.datasets.ava_files import read_box_csv, read_label_map, read_proposals, some_of
from amd_mm.engine.launch import LaunchError, read_config
from amd_mm.errors import VideoError
from amd_mm.evaluation.action_detector import (
    ActionDetectorError,
    Detector,
    build_detector,
    check_mmdet,
    read_detector,
    recognise,
)
from amd_mm.evaluation.clip_encoder import ArchitectureError, choose_device, find_config
from amd_mm.visualization.video import (
    Person,
    check_output,
    draw_people,
    legible_size,
    rewrite_video,
)
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import ProgressBar
from PIL import Image

_CLASSIFIER = 'roi_head.bbox_head.fc_cls.weight'
_PATCH_WEIGHT = 'backbone.patch_embed.projection.weight'
_CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'amd/detection'
_CONFIG = 'amd_vit-{}-p16_8xb16-16x4x1-30e_ava22.py'
_SIZES = {384: 'small', 768: 'base'}

Boxes = dict[float, np.ndarray]  # seconds into the video -> (N, 5), shares


class DemoError(Exception):
    """Something that the user has to change."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('video')
    parser.add_argument('checkpoint', help='a file or address')
    parser.add_argument('--config', help="the model's config (default: see above)")
    parser.add_argument(
        '--labels',
        metavar='FILE',
        help="AVA's action list (.pbtxt); default: the one that the config names, if it is there",
    )
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument('--backend', choices=list(BACKENDS), default='pyav')
    group = parser.add_argument_group('where people are (one of both)')
    group.add_argument('--proposals', metavar='FILE', help='boxes: .pkl, or else a csv')
    group.add_argument(
        '--video-id', help='what the video is called there (default: its name without ending)'
    )
    group.add_argument(
        '--starts-at',
        type=int,
        default=0,
        metavar='SECOND',
        help='timestamp of the first frame (0)',
    )
    group.add_argument('--pixels', action='store_true', help="the csv's corners are pixels")
    group.add_argument('--detector-config', help='of mmdet')
    group.add_argument('--detector-checkpoint')
    group.add_argument(
        '--category',
        type=int,
        default=0,
        help='number of the person among the classes of the detector (0)',
    )
    group.add_argument(
        '--confidence',
        type=float,
        help="least confidence of a box (default: that of the config's test)",
    )
    group = parser.add_argument_group('what is written')
    group.add_argument('--out', metavar='FILE', help='video: .mp4 or .gif')
    group.add_argument('--frames', metavar='FOLDER', help='a PNG of each second looked at')
    group.add_argument(
        '--every',
        type=float,
        default=1.0,
        metavar='SECONDS',
        help='from one clip to the next (1); of a file, seconds that it has',
    )
    group.add_argument(
        '--threshold', type=float, default=0.3, help='least probability of an action (0.3)'
    )
    group.add_argument('--top', type=int, default=5, help='actions of a person (5)')
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


# -- the action detector ----------------------------------------------------


def build(args: argparse.Namespace) -> Detector:
    """The action detector of a checkpoint.

    Raises:
        ActionDetectorError: If checkpoint or config are of something else.
        DemoError: If no config is given and none is known.
        CheckpointError: If they do not fit, or the file cannot be read.
    """
    state = read_detector(args.checkpoint)
    path = args.config or find_config(args.checkpoint)
    cfg = read_config(path) if path else _config_for(args, state)
    print(f'config: {cfg.filename}')
    return build_detector(cfg, state, args.checkpoint, choose_device(args.device), args.backend)


def _config_for(args: argparse.Namespace, state: dict) -> Config:
    """This package's config for weights, with their number of classes."""
    width = state[_PATCH_WEIGHT].shape[0] if _PATCH_WEIGHT in state else None
    if width not in _SIZES or _CLASSIFIER not in state:
        raise DemoError(
            f'there is no config beside {args.checkpoint} and none of this '
            'package is for it (they are for a ViT-S or ViT-B): give --config'
        )
    cfg = Config.fromfile(str(_CONFIGS / _CONFIG.format(_SIZES[width])))
    head = cfg.model.roi_head.bbox_head
    head.num_classes = len(state[_CLASSIFIER])
    if head.num_classes < 6:
        head.topk = (1,)
    return cfg


# -- where people are -------------------------------------------------------


def boxes_from_file(args: argparse.Namespace, size: tuple[int, int], lasts: float) -> Boxes:
    """The boxes of the video in a file.

    Args:
        args (argparse.Namespace): The command line.
        size (tuple[int, int]): Width and height of the video, pixels.
        lasts (float): The video's length, seconds.

    Returns:
        Boxes: Those of all seconds of the video that the file has.

    Raises:
        VideoError: If it is no such file.
        DemoError: If nothing in it is of the video.
    """
    path = args.proposals
    if path.lower().endswith(('.pkl', '.pickle')):
        if args.pixels:
            raise DemoError('--pixels is for a csv; a pickle has shares')
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
        raise DemoError(
            f'{path} has no boxes of {video!r}; give one of its '
            f'videos with --video-id: {some_of(names)}'
        )
    inside = {time: found[time] for time in found if 0 <= time <= lasts}
    if not inside:
        times = [time + args.starts_at for time in found]
        raise DemoError(
            f'{path} has boxes of {video!r} at {min(times)} to {max(times)} '
            f's, but the video lasts from {args.starts_at} to '
            f'{args.starts_at + lasts:.1f} s: say with --starts-at what '
            'timestamp its first frame has'
        )
    if len(inside) < len(found):
        print(
            f'{len(found) - len(inside)} of {len(found)} seconds that have '
            'boxes are not in the video'
        )
    return inside


def boxes_from_detector(args: argparse.Namespace, times: Sequence[float]) -> Boxes:
    """The boxes that a detector of mmdet finds.

    Args:
        args (argparse.Namespace): The command line.
        times (Sequence[float]): Seconds into the video.

    Returns:
        Boxes: At each of these times, perhaps none.
    """
    # Here: it takes seconds to import, and not everyone has it.
    from mmdet.apis import inference_detector, init_detector

    path = _detector_config(args.detector_config)
    for name in (path, args.detector_checkpoint):
        if '://' not in name and not osp.isfile(name):
            raise DemoError(f'there is no file {name}')
    model = init_detector(path, args.detector_checkpoint, device=choose_device(args.device))
    found = {}
    with open_video(args.video, args.backend) as reader:
        bar = _bar('people', len(times))
        for time in times:
            number = min(round(time * reader.avg_fps), len(reader) - 1)
            frame = reader.read([number])[0]
            # mmdet's pipelines expect BGR, as from a file.
            result = inference_detector(model, np.ascontiguousarray(frame[..., ::-1]))
            found[time] = _people_of(result.pred_instances, args.category, frame.shape)
            bar.update()
        print(file=sys.stderr)
    return found


def _detector_config(name: str) -> str:
    """The path of a config; ``mmdet::…`` is in the installed package."""
    if '::' not in name:
        return name
    from mmengine.utils import get_installed_path

    package, _, path = name.partition('::')
    return osp.join(get_installed_path(package), '.mim', 'configs', path)


def _people_of(instances: object, category: int, shape: tuple[int, int, int]) -> np.ndarray:
    """The boxes (N, 5) of one category, as shares."""
    chosen = instances[instances.labels == category].cpu()
    height, width = shape[:2]
    corners = chosen.bboxes.numpy() / (width, height, width, height)
    return np.column_stack([corners.clip(0, 1), chosen.scores.numpy()])


def _confident(boxes: np.ndarray, confidence: float) -> np.ndarray:
    if boxes.shape[1] == 4:
        return boxes
    return boxes[boxes[:, 4] >= confidence]


def _spaced(times: Sequence[float], every: float) -> list[float]:
    """Some of the times, at least so far apart."""
    chosen: list[float] = []
    for time in sorted(times):
        if not chosen or time - chosen[-1] >= every - 1e-6:
            chosen.append(time)
    return chosen


# -- the whole --------------------------------------------------------------


def run(args: argparse.Namespace) -> None:
    """Find people, recognise, draw and write."""
    if args.out is not None:
        check_output(args.out)
    with open_video(args.video, args.backend) as reader:
        fps, count = reader.avg_fps, len(reader)
        height, width = reader.read([0])[0].shape[:2]
    if fps <= 0:
        raise DemoError(f'{args.video} does not say its frame rate')
    lasts = count / fps
    check_mmdet()
    names = read_label_map(args.labels) if args.labels else None
    detector = build(args)
    confidence = detector.confidence if args.confidence is None else args.confidence
    if args.proposals:
        found = boxes_from_file(args, (width, height), lasts)
        times = _spaced(list(found), args.every)
    else:
        times = list(np.arange(0, lasts, args.every).tolist())
        found = boxes_from_detector(args, times)
        # mmdet's is another one.
        init_default_scope('mmaction')
    found = {time: _confident(found[time], confidence) for time in times}
    boxes = sum(map(len, found.values()))
    print(f'{boxes} people of confidence {confidence:g} at {len(times)} times')
    if not boxes:
        raise DemoError(f'there is nobody of confidence {confidence:g}; see --confidence')
    names = names or _names_of(detector)
    people = predict(args, detector, names, found)
    report(people)
    write(args, people)


def _names_of(detector: Detector) -> dict[int, str]:
    path = detector.label_file
    if path and osp.isfile(path):
        return read_label_map(path)
    print('actions have numbers: give their names with --labels')
    return {}


def predict(
    args: argparse.Namespace, detector: Detector, names: dict[int, str], found: Boxes
) -> dict[float, list[Person]]:
    """What people do at each time.

    Args:
        args (argparse.Namespace): The command line.
        detector (Detector): From :func:`build`.
        names (Dict[int, str]): Of actions; others get their number.
        found (Boxes): Where people are.

    Returns:
        Dict[float, List[Person]]: Seconds into the video -> people.
    """
    bar = _bar('actions', len(found))
    people: dict[float, list[Person]] = {}
    for time, boxes in found.items():
        people[time] = []
        if len(boxes):
            scores = recognise(detector, args.video, time, boxes)
            people[time] = [
                Person(box[:4], _best(args, detector.labels, names, row))
                for box, row in zip(boxes, scores)
            ]
        bar.update()
    print(file=sys.stderr)
    return people


def _best(
    args: argparse.Namespace, labels: Sequence[int], names: dict[int, str], scores: np.ndarray
) -> list[tuple]:
    order = np.argsort(-scores, kind='stable')[: args.top]
    return [
        (names.get(labels[i], f'action {labels[i]}'), float(scores[i]))
        for i in order
        if scores[i] >= args.threshold
    ]


def report(people: dict[float, list[Person]]) -> None:
    """Print the actions that were seen most often."""
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
        paths = write_frames(args, people)
        print(f'wrote {len(paths)} pictures to {args.frames}')
    if args.out is not None:
        times = sorted(people)
        # The number of frames in a gif is not known here.
        bar = _bar('video', 0)

        def draw(frame: np.ndarray, time: float) -> np.ndarray:
            bar.update()
            shown = nearest(times, time, args.every)
            return frame if shown is None else draw_people(frame, people[shown])

        rewrite_video(args.video, args.out, draw, args.backend)
        print(file=sys.stderr)
        print(f'wrote {args.out}')


def nearest(times: Sequence[float], time: float, every: float) -> float | None:
    """Which of the times a frame belongs to.

    Args:
        times (Sequence[float]): Ascending.
        time (float): Of the frame.
        every (float): A frame further away than half of it belongs to none.

    Returns:
        float, optional: The nearest, the earlier of two.
    """
    place = bisect(times, time)
    near = min(times[max(place - 1, 0) : place + 1], key=lambda one: abs(one - time))
    return near if abs(near - time) <= every / 2 + 1e-6 else None


def write_frames(args: argparse.Namespace, people: dict[float, list[Person]]) -> list[Path]:
    """Write a PNG of each time: ``NAME_0902.png``, as in the file."""
    folder = Path(args.frames)
    folder.mkdir(parents=True, exist_ok=True)
    stem, paths = Path(args.video).stem, []
    with open_video(args.video, args.backend) as reader:
        for time, group in people.items():
            number = min(round(time * reader.avg_fps), len(reader) - 1)
            frame = legible_size(reader.read([number])[0])
            stamp = f'{time + args.starts_at:.2f}'.rstrip('0').rstrip('.')
            whole, dot, rest = stamp.partition('.')
            paths.append(folder / f'{stem}_{whole:0>4}{dot}{rest}.png')
            Image.fromarray(draw_people(frame, group)).save(paths[-1])
    return paths


def _bar(what: str, count: int) -> ProgressBar:
    print(what, file=sys.stderr)
    return ProgressBar(count, file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """Read the command line, run, and say what is wrong with it."""
    args = parse_args(argv)
    try:
        run(args)
    except (
        ArchitectureError,
        VideoError,
        CheckpointError,
        DemoError,
        ActionDetectorError,
        LaunchError,
        ImportError,
        OSError,
    ) as error:
        print(f'demo_detection.py: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
