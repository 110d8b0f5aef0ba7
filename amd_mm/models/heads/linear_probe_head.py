from typing import Any

import torch
from amd_mm.registry import MODELS
from mmaction.models.heads import TimeSformerHead
from torch import Tensor, nn


@MODELS.register_module()
class LinearProbeHead(TimeSformerHead):
    """A linear classifier of features that are not trained.

    Mean over the tokens, then a batch norm without learnable parameters, then
    the linear layer. Features of different models have different scales; the
    norm makes one learning rate fit all. It is MAE's probe (He et al., CVPR
    2022, appendix A.1).

    Args:
        num_classes (int): Classes to tell apart.
        in_channels (int): Width of a feature.
        loss_cls (dict): The loss.
        init_std (float): Of the linear layer's weights.
        average_clips (str, optional): How views of a video are averaged in
            testing: ``'prob'``, ``'score'`` or None.
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
        """Scores of features.

        Args:
            x (Tensor): (B, C), or (B, C, T', H', W') as a backbone with
                ``return_feat_map`` gives it.
            **kwargs: What recognisers of MMAction2 hand to every head (the
                losses of a neck, settings of fully convolutional testing).

        Returns:
            Tensor: (B, num_classes), float32, under autocast as well.
        """
        if x.ndim > 2:
            x = x.flatten(2).mean(2)
        # MMAction2 makes the accuracy of scores that NumPy has to know.
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(self.norm(x.float()))
