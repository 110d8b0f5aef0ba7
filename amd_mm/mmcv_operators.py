"""Stands in for ``mmcv._ext``, the compiled operators of MMCV, where MMCV has none.

``mmcv.ops`` and MMDetection import with it. RoIAlign and NMS are those of torchvision, with the
results of MMCV's. Every other operator raises an error when it is called.
"""

import math
from collections.abc import Callable, Sequence
from typing import NoReturn

import torch
from torch import Tensor

_AVERAGE = 1  # mmcv's number for pool_mode='avg'


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool the boxes (K, 5) of a map (N, C, H, W) into ``output`` (K, C, h, w)."""
    if pool_mode != _AVERAGE:
        _raise_missing("roi_align with pool_mode='max'")
    size = (aligned_height, aligned_width)
    output.copy_(_roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the map into ``grad_input``."""
    size = (aligned_height, aligned_width)
    with torch.enable_grad():
        # RoIAlign is linear in the map, so its gradient is the same at any map.
        anywhere = torch.zeros_like(grad_input, requires_grad=True)
        output = _roi_align(anywhere, rois, size, spatial_scale, sampling_ratio, aligned)
    grad_input.copy_(torch.autograd.grad(output, anywhere, grad_output)[0])


def _roi_align(
    input: Tensor,
    rois: Tensor,
    size: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    import torchvision

    if torchvision.extension._has_ops():
        return torchvision.ops.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned)
    # torchvision's Python form takes minutes for a batch of MMDetection.
    pooled = [input.new_zeros(0, input.shape[1], *size)]
    boxes = (rois[:, 1:] * spatial_scale - 0.5 * aligned).tolist()
    for image, (left, top, right, bottom) in zip(rois[:, 0].long().tolist(), boxes):
        rows = _bin_weights(input, top, bottom, size[0], input.shape[2], sampling_ratio, aligned)
        columns = _bin_weights(input, left, right, size[1], input.shape[3], sampling_ratio, aligned)
        y, x = rows.any(0), columns.any(0)  # the pixels inside the box
        part = input[image][:, y][:, :, x]
        pooled.append((rows[:, y] @ part @ columns[:, x].T)[None])  # (1, C, h, w)
    return torch.cat(pooled)


def _bin_weights(
    like: Tensor, start: float, end: float, bins: int, length: int, ratio: int, aligned: bool
) -> Tensor:
    """Weights (bins, length) of the pixels of a side in the bins between ``start`` and ``end``.

    A bin is the mean of its points, and a point interpolates between its two neighbours.
    """
    extent = end - start if aligned else max(end - start, 1.0)
    count = ratio if ratio > 0 else math.ceil(extent / bins)  # points of a bin
    if count <= 0:
        return like.new_zeros(bins, length)
    steps = torch.arange(bins * count, device=like.device, dtype=torch.float32)
    points = start + extent * (steps + 0.5) / (bins * count)
    inside = (points >= -1) & (points <= length)
    pixels = torch.arange(length, device=like.device)
    distance = (points.clamp(0, length - 1)[:, None] - pixels).abs()
    weights = (1 - distance).clamp(min=0) * inside[:, None]
    return weights.view(bins, count, length).mean(1).to(like)


def nms(boxes: Tensor, scores: Tensor, *, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes (N, 4) that are kept, best first; ``offset`` is added to their sides."""
    import torchvision

    boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], 1)
    if torchvision.extension._has_ops():
        return torchvision.ops.nms(boxes, scores, iou_threshold)
    order = scores.argsort(descending=True, stable=True)
    overlaps = torchvision.ops.box_iou(boxes[order], boxes[order]) > iou_threshold
    keep = torch.ones_like(order, dtype=torch.bool)
    for best in range(len(order)):
        if keep[best]:
            keep[best + 1 :] &= ~overlaps[best, best + 1 :]
    return order[keep]


def get_compiler_version() -> str:
    """For MMEngine's and MMDetection's lists of versions."""
    return 'not compiled (amd_mm.mmcv_operators)'


get_compiling_cuda_version = get_compiler_version


def _raise_missing(name: str) -> NoReturn:
    raise NotImplementedError(
        f'the operator {name} of mmcv is not compiled: run bash tools/install.sh --compile-mmcv, '
        'or install mmcv 2.1.0 with its operators (MMCV_WITH_OPS=1)'
    )


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Any other operator; ``mmcv.ops`` looks for about 120 of them when it is imported."""
    if name.startswith('__'):
        raise AttributeError(name)

    def missing(*args: object, **kwargs: object) -> NoReturn:
        _raise_missing(name)

    return missing
