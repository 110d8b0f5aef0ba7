"""Additions to MMAction2's recognisers and detectors."""

from typing import Any

import torch
from amd_mm.registry import MODELS
from mmaction.models import Recognizer3D
from mmaction.models.heads import BaseHead, TimeSformerHead
from mmaction.utils import InstanceList, SampleList
from torch import Tensor, nn

try:
    # Not from the package, which swallows the error.
    from mmaction.models.roi_heads.roi_head import AVARoIHead
except ImportError as error:
    _missing = error

    class AVARoIHead:  # type: ignore[no-redef]
        """Raises when it is built."""

        def __init__(self, **kwargs: object) -> None:
            raise ImportError(
                f'action detection needs mmdet ({_missing}): run bash tools/install.sh, or '
                "pip install 'mmdet>=3.3,<3.4'"
            ) from _missing


def compute_head_losses_in_float32() -> None:
    """Let MMAction2's heads train under bfloat16 autocast.

    To compute the accuracy they convert the scores to NumPy, which has no bfloat16 (``TypeError:
    Got unsupported ScalarType BFloat16``). The loss is the same: autocast computes the cross
    entropy in float32 anyway.
    """
    original = BaseHead.loss_by_feat

    def loss_by_feat(self: BaseHead, cls_scores: Tensor, data_samples: SampleList) -> dict:
        return original(self, cls_scores.float(), data_samples)

    BaseHead.loss_by_feat = loss_by_feat


compute_head_losses_in_float32()


@MODELS.register_module()
class FrozenBackboneRecognizer(Recognizer3D):
    """A recogniser that trains its head only.

    The backbone is always in evaluation mode and computes no gradients. To leave it out of the
    optimiser, use ``amd_mm.TrainableOnlyConstructor``.
    """

    def __init__(
        self,
        backbone: dict,
        cls_head: dict,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(backbone, cls_head, test_cfg=test_cfg, data_preprocessor=data_preprocessor)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> 'FrozenBackboneRecognizer':
        """Set the mode of the head."""
        super().train(mode)
        self.backbone.eval()
        return self


@MODELS.register_module()
class LinearProbeHead(TimeSformerHead):
    """A batch norm without learnable parameters and a linear layer: MAE's linear probe.

    The norm makes one learning rate fit the scale of any features (MAE, CVPR 2022, appendix A.1).
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss_cls: dict = dict(type='mmaction.CrossEntropyLoss'),
        init_std: float = 0.01,
        average_clips: str | None = None,
    ) -> None:
        super().__init__(
            num_classes, in_channels, loss_cls, init_std=init_std, average_clips=average_clips
        )
        self.norm = nn.BatchNorm1d(in_channels, affine=False, eps=1e-6)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Scores (B, num_classes), float32 also under autocast.

        Args:
            x: (B, C), or a feature map (B, C, T', H', W').
            **kwargs: Ignored; MMAction2's recognisers pass them to every head.
        """
        if x.ndim > 2:
            x = x.flatten(2).mean(2)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(self.norm(x.float()))


@MODELS.register_module()
class BatchedAVARoIHead(AVARoIHead):
    """MMAction2's ``AVARoIHead`` for any batch size in testing; the original asserts 1.

    Clips of one frame size get the same scores in any batch. Clips of different sizes are padded,
    which changes their scores slightly; use a batch size of 1 for exact scores.
    """

    def predict(
        self,
        x: Tensor | tuple[Tensor],
        rpn_results_list: InstanceList,
        data_samples: SampleList,
        rescale: bool = True,
    ) -> InstanceList:
        """Score the boxes of each clip.

        Args:
            x: Feature maps (B, C, T, H, W).
            rpn_results_list: ``bboxes`` (N, 4) of each clip, in pixels.
            data_samples: With ``img_shape`` (H, W).
            rescale: Unused: the returned boxes are relative to the frame.

        Returns:
            ``bboxes`` (N, 4), relative to the frame, and ``scores`` (N, num_classes) of each clip.
        """
        metas: list[dict] = [sample.metainfo for sample in data_samples]
        return self.predict_bbox(x, metas, rpn_results_list, rcnn_test_cfg=self.test_cfg)
