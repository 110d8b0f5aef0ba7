"""Training proposals from ground-truth boxes."""

from typing import Any

import numpy as np
from amd_mm.registry import TRANSFORMS
from mmcv.transforms import BaseTransform


@TRANSFORMS.register_module()
class GroundTruthProposals(BaseTransform):
    """The annotated boxes as proposals, and jittered copies of them.

    ``mmdet.FastRCNN`` needs proposals in training too. AMD's recipe trains on
    ground-truth boxes only, which then are the proposals. To stand first in a
    pipeline, where boxes are shares of the frame: the other transforms take
    proposals along.

    Each side of a copy moves by up to ``jitter`` of the box's width or height,
    so that it overlaps its box by at least ``(1 - 2 * jitter) ** 2``. A copy
    that overlaps less than the assigner asks for (``pos_iou_thr``, 0.9 in the
    configs: a jitter of 0.025) is not learned from.

    Required key: ``gt_bboxes`` (N, 4), shares of the frame. Added key:
    ``proposals`` (N * (1 + copies), 4), the boxes themselves first.

    Args:
        copies (int): Jittered copies of each box. Defaults to 0.
        jitter (float): Share of a side, in [0, 0.5). Defaults to 0.

    Raises:
        ValueError: If the numbers are out of range, or one of them is 0 and
            the other is not.
    """

    def __init__(self, copies: int = 0, jitter: float = 0.0) -> None:
        if copies < 0 or not 0 <= jitter < 0.5:
            raise ValueError(
                f'copies must not be negative and jitter be in [0, 0.5), got {copies} and {jitter}'
            )
        if (copies == 0) != (jitter == 0):
            raise ValueError(
                'jittered copies need both, copies and jitter; got '
                f'copies={copies}, jitter={jitter}'
            )
        self.copies = copies
        self.jitter = jitter

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the proposals.

        Args:
            results (dict): With ``gt_bboxes``.

        Returns:
            dict: The same, with ``proposals``.
        """
        boxes = results['gt_bboxes']
        proposals = [boxes]
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        for _ in range(self.copies):
            shift = np.random.uniform(-self.jitter, self.jitter, boxes.shape)
            proposals.append((boxes + shift * sides).clip(0, 1))
        results['proposals'] = np.concatenate(proposals)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(copies={self.copies}, jitter={self.jitter})'
