"""Videos and images as input of a model to look into."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..apis import ClipSampling, read_sample
from ..datasets import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, find_videos
from ..errors import VideoError


def find_inputs(paths: Sequence[str], limit: int | None) -> list[str]:
    """List videos and images: files, and the first ``limit`` of each folder.

    Raises:
        FileNotFoundError: If a path does not exist, or a folder has no video and no image.
        VideoError: If a file has another ending.
    """
    endings = (*VIDEO_EXTENSIONS, *IMAGE_EXTENSIONS)
    found: list[str] = []
    for path in paths:
        if osp.isdir(path):
            names = find_videos(path, extensions=endings)
            found += [osp.join(path, name) for name in names[:limit]]
        elif not osp.isfile(path):
            raise FileNotFoundError(f'there is no video, image or folder {path}')
        elif osp.splitext(path)[1].lower() not in endings:
            raise VideoError(f'{path} is neither a video nor an image, by its ending')
        else:
            found.append(path)
    return found


def read_inputs(
    backbone: Any, paths: Sequence[str], stride: int | None = 4, backend: str = 'pyav'
) -> Tensor:
    """Read the middle clip of videos, as testing does, in the size of a backbone.

    An image becomes a clip that repeats it; an image model gets the middle frame of a video.

    Args:
        backbone: a ViT of this package.
        paths: videos and images.
        stride: from one frame to the next; None takes one frame from each equal part of a video.
        backend: video reader, see :func:`amd_mm.datasets.open_video`.

    Returns:
        (B, 3, T, H, W), or (B, 3, H, W) for an image model; uint8, RGB.

    Raises:
        VideoError: If a file cannot be read.
    """
    (steps, rows, _), (tubelet, side, _) = backbone.token_grid, backbone.patch_shape
    pipeline = ClipSampling(steps * tubelet, stride, size=rows * side).pipeline(backend)
    clips = torch.cat([read_sample(pipeline, path)['inputs'] for path in paths])  # (B, 3, T, H, W)
    return clips if backbone.input_dims == 5 else clips[:, :, 0]
