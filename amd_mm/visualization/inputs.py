"""Clips and images to look at, as models want them."""

import os.path as osp
from collections.abc import Sequence

import numpy as np
import torch
from amd_mm.datasets import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, find_videos, open_video
from amd_mm.datasets.transforms import clips_for_testing
from amd_mm.registry import TRANSFORMS
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .errors import VisualizationError


def find_inputs(paths: Sequence[str], limit: int | None) -> list[str]:
    """Videos and images: files as they are, folders searched.

    Args:
        paths (Sequence[str]): Files and folders.
        limit (int, optional): Take at most so many of each folder.

    Returns:
        List[str]: Files.

    Raises:
        FileNotFoundError: If a path is not there, or there is neither video
            nor image in a folder.
        VisualizationError: If a file is neither, by its ending.
    """
    found: list[str] = []
    for path in paths:
        if osp.isdir(path):
            names = find_videos(path, extensions=(*VIDEO_EXTENSIONS, *IMAGE_EXTENSIONS))
            found += [osp.join(path, name) for name in names[:limit]]
        elif not osp.isfile(path):
            raise FileNotFoundError(f'there is no video, image or folder {path}')
        elif _ending(path) in (*VIDEO_EXTENSIONS, *IMAGE_EXTENSIONS):
            found.append(path)
        else:
            raise VisualizationError(f'{path} is neither a video nor an image, by its ending')
    return found


def read_inputs(
    paths: Sequence[str],
    frames: int | None,
    size: tuple[int, int],
    stride: int | None = 4,
    backend: str = 'decord',
) -> Tensor:
    """The middle of videos and images, whole but for what is cut off.

    Args:
        paths (Sequence[str]): Videos and images. Of a video an image model
            gets the middle frame; an image is a clip that stands still.
        frames (int, optional): Of a clip; None for images.
        size (Tuple[int, int]): Height and width, pixels: the middle, after
            the input was made just large enough.
        stride (int, optional): From one frame to the next; None takes one
            from each equal part of the video.
        backend (str): The reader, see :func:`amd_mm.datasets.open_video`.

    Returns:
        Tensor: (B, 3, T, H, W), or (B, 3, H, W) without ``frames``; uint8,
        RGB.

    Raises:
        UnreadableVideoError: If a video cannot be read.
        VisualizationError: If an image cannot be read.
    """
    return torch.stack(
        [
            _read_image(path, frames, size)
            if _ending(path) in IMAGE_EXTENSIONS
            else _read_video(path, frames, size, stride, backend)
            for path in paths
        ]
    )


def _ending(path: str) -> str:
    return osp.splitext(path)[1].lower()


def _read_image(path: str, frames: int | None, size: tuple[int, int]) -> Tensor:
    try:
        with Image.open(path) as file:
            image = file.convert('RGB')
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise VisualizationError(f'cannot read {path}: {type(error).__name__}') from None
    values = _fill(image, size)
    if frames is not None:
        values = values.unsqueeze(1).repeat(1, frames, 1, 1)
    return values


def _fill(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """(3, H, W): the middle of an image that was made just large enough."""
    height, width = size
    factor = max(height / image.height, width / image.width)
    new = (max(width, round(image.width * factor)), max(height, round(image.height * factor)))
    left, top = (new[0] - width) // 2, (new[1] - height) // 2
    image = image.resize(new, Image.Resampling.BICUBIC)
    image = image.crop((left, top, left + width, top + height))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _read_video(
    path: str, frames: int | None, size: tuple[int, int], stride: int | None, backend: str
) -> Tensor:
    with open_video(path, backend) as reader:
        indices = middle_frames(len(reader), frames or 1, stride)
        pictures = reader.read(indices)
    filled = [_fill(Image.fromarray(np.asarray(picture)), size) for picture in pictures]
    return torch.stack(filled, 1) if frames else filled[0]


def middle_frames(total: int, frames: int, stride: int | None) -> list[int]:
    """The frames of a video's middle clip, as in testing.

    Args:
        total (int): Frames of the video; those of short ones are repeated.
        frames (int): Of the clip.
        stride (int, optional): From one to the next; None takes one from each
            equal part of the video.

    Returns:
        List[int]: From 0.
    """
    sampling = clips_for_testing(frames, stride)
    video = dict(total_frames=total, start_index=0)
    return TRANSFORMS.build(sampling)(video)['frame_inds'].tolist()
