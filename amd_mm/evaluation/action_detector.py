"""Trained action detectors on clips of any video: who does what, and when."""

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from amd_mm.checkpoints import load_into, read_checkpoint, unwrap
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope


class ActionDetectorError(Exception):
    """A checkpoint or config is not of an action detector."""


class Detector(NamedTuple):
    """A model and how it wants to see a clip.

    Attributes:
        model (nn.Module): In evaluation mode, on its device.
        pipeline (Compose): From a video, a time and boxes to a sample.
        fps (int): Frames of a second that its clips count in.
        labels (Sequence[int]): What its classes stand for, from class 1 on;
            0 is the background.
        confidence (float): Of boxes that it was tested with.
        label_file (str, optional): That its config names.
    """

    model: Any
    pipeline: Compose
    fps: int
    labels: Sequence[int]
    confidence: float
    label_file: str | None


def check_mmdet() -> None:
    """Raise an ImportError that says what to install."""
    for name in ('mmdet', 'mmcv.ops'):
        try:
            importlib.import_module(name)
        except (ImportError, AssertionError) as error:
            raise ImportError(
                'action detection needs mmdet and an mmcv with compiled ops: '
                f'{name} does not import ({error}). Install both with '
                'tools/install.sh, or see requirements/detection.txt'
            ) from error


def read_detector(checkpoint: str) -> dict:
    """The weights of an action detector.

    Args:
        checkpoint (str): A file of MMAction2's or MMDetection's names.

    Returns:
        dict: Name -> tensor.

    Raises:
        ActionDetectorError: If it is of a recogniser or of pre-training.
        CheckpointError: If the file cannot be read.
    """
    state = unwrap(read_checkpoint(checkpoint))
    if not any(name.startswith('roi_head.') for name in state):
        kind = (
            'a recogniser'
            if any(name.startswith('cls_head.') for name in state)
            else 'pre-training'
        )
        raise ActionDetectorError(
            f'{checkpoint} has no roi_head: it is of {kind}, not of an '
            'action detector. Train one from it (configs/amd/detection), or '
            'see what the whole video shows (tools/demo.py)'
        )
    return state


def build_detector(
    cfg: Config, state: dict, name: str, device: torch.device, backend: str
) -> Detector:
    """The action detector of a config with trained weights.

    Args:
        cfg (Config): With ``model.roi_head`` and a ``test_dataloader``.
        state (dict): The weights, from :func:`read_detector`.
        name (str): Of their file, for messages.
        device (torch.device): Where it computes.
        backend (str): The video reader.

    Returns:
        Detector: In evaluation mode.

    Raises:
        ActionDetectorError: If the config is of something else.
        CheckpointError: If they do not fit.
    """
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model_cfg: Any = cfg.get('model') or {}
    loader = cfg.get('test_dataloader') or {}
    dataset: Any = loader.get('dataset') or {}
    if not model_cfg.get('roi_head') or not dataset.get('pipeline'):
        raise ActionDetectorError(
            f'{cfg.filename} is not of an action detector: it '
            'needs model.roi_head and test_dataloader'
        )
    model_cfg.backbone.pop('pretrained', None)
    model_cfg.backbone.pop('init_cfg', None)
    model_cfg.pop('init_cfg', None)
    model = MODELS.build(model_cfg)
    load_into(model, state, name=name, logger='silent')
    classes = model.roi_head.bbox_head.num_classes
    return Detector(
        model.to(device).eval(),
        Compose(video_pipeline(dataset.pipeline, backend)),
        dataset.get('fps', 30),
        dataset.get('custom_classes') or range(1, classes),
        dataset.get('person_det_score_thr', 0.9),
        dataset.get('label_file'),
    )


def video_pipeline(steps: Sequence[dict], backend: str) -> list[dict]:
    """The test pipeline of a config, for a video.

    Args:
        steps (Sequence[dict]): For videos or raw frames.
        backend (str): The reader.

    Returns:
        List[dict]: For videos, with one clip around each timestamp.

    Raises:
        ActionDetectorError: If it samples or decodes in a way not known here.
    """
    names = [str(step['type']).split('.')[-1] for step in steps]
    samplers = [i for i, name in enumerate(names) if name in ('SampleAVAClip', 'SampleAVAFrames')]
    decoders = [i for i, name in enumerate(names) if name.endswith('Decode')]
    if not samplers or not decoders:
        raise ActionDetectorError(
            'the test pipeline of the config needs SampleAVAClip or '
            f'SampleAVAFrames, and a decoder; it has {", ".join(names)}'
        )
    sampler = dict(steps[samplers[0]], type='amd_mm.SampleAVAClip', test_mode=True)
    return [
        dict(type='amd_mm.VideoInit', backend=backend),
        sampler,
        dict(type='amd_mm.VideoDecode'),
        *steps[decoders[-1] + 1 :],
    ]


@torch.no_grad()
def recognise(detector: Detector, video: str, time: float, boxes: np.ndarray) -> np.ndarray:
    """Probabilities of the actions of each person.

    Args:
        detector (Detector): From :func:`build_detector`.
        video (str): A file.
        time (float): Middle of the clip, seconds into the video.
        boxes (np.ndarray): (N, 4 or 5), N > 0, shares of the frame.

    Returns:
        np.ndarray: (N, actions), without the background.

    Raises:
        UnreadableVideoError: If the video cannot be read.
    """
    corners = boxes[:, :4].astype(np.float32)
    sample = detector.pipeline(
        dict(
            filename=video,
            modality='RGB',
            start_index=0,
            fps=detector.fps,
            timestamp=time,
            timestamp_start=0,
            shot_info=None,
            # Nothing is compared with these; boxes are scaled with them.
            gt_bboxes=corners,
            gt_labels=np.zeros((len(corners), 1), np.float32),
            proposals=corners,
        )
    )
    result = detector.model.test_step(pseudo_collate([sample]))[0]
    return result.pred_instances.scores[:, 1:].float().cpu().numpy()
