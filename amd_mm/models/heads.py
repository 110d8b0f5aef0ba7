"""Targets and losses of the algorithms: pixels (MAE, VideoMAE, AMD), relations and features."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

PIXEL_TARGETS = ('per_channel', 'per_patch', 'pixels')
TOKENS = ('all', 'class')


@MODELS.register_module()
class PixelReconstructionHead(nn.Module):
    """The decoder's target and its loss.

    Predictions are in the order (time, height, width, channel) of the public programs. Patches are
    in the order of :func:`amd_mm.models.utils.patchify`, channel first. ``mean`` and ``std`` are
    the data preprocessor's, (C,), for values up to 255.

    Args:
        target: ``per_channel``: RGB in [0, 1], each channel of a patch normalised by ``(x - mean) /
            (std + 1e-6)`` (AMD, VideoMAE). ``per_patch``: the preprocessed clip, each patch
            normalised by ``(x - mean) / sqrt(var + 1e-6)`` (MAE). ``pixels``: the preprocessed clip
            (MAE without ``norm_pix``). Variances are unbiased.
        in_channels: Channels of the clip.

    Raises:
        ConfigError: If the target is unknown.
    """

    def __init__(self, target: str = 'per_channel', in_channels: int = 3) -> None:
        super().__init__()
        if target not in PIXEL_TARGETS:
            raise ConfigError(f'target must be one of {PIXEL_TARGETS}, got {target!r}')
        self.target_type = target
        self.in_channels = in_channels

    def forward(self, prediction: Tensor, patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Mean squared error of predictions (B, K, P) from the target of patches (B, K, P)."""
        return F.mse_loss(prediction.float(), self.target(patches, mean, std))

    @torch.no_grad()
    def target(self, patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """The values that the decoder has to predict: (B, K, P) -> (B, K, P), float32."""
        values = self._split(patches)  # -> (B, K, C, P / C)
        if self.target_type == 'per_channel':
            values = _to_rgb(values, mean, std)
        if self.target_type != 'pixels':
            centre, scale = self._statistics(values)
            values = (values - centre) / scale
        return values.transpose(-1, -2).flatten(-2)  # -> (B, K, P), channel last

    def _split(self, patches: Tensor) -> Tensor:
        return patches.float().unflatten(-1, (self.in_channels, -1))

    def _statistics(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and divisor of the target of (B, K, C, P / C) values."""
        if self.target_type == 'per_channel':
            var, mean = torch.var_mean(values, dim=-1, keepdim=True)
            return mean, var.sqrt() + 1e-6
        var, mean = torch.var_mean(values, dim=(-2, -1), keepdim=True)
        return mean, (var + 1e-6).sqrt()

    @torch.no_grad()
    def patches_to_rgb(self, patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Undo the preprocessing of patches (B, K, P): RGB in [0, 1], float32."""
        return _to_rgb(self._split(patches), mean, std).flatten(-2)

    @torch.no_grad()
    def to_rgb(self, prediction: Tensor, patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Turn predictions (B, K, P) into pictures of patches.

        A normalised prediction has no brightness and contrast: they are taken from the true
        ``patches`` (B, K, P).

        Returns:
            (B, K, P), RGB in [0, 1], channel first.
        """
        values = prediction.float().unflatten(-1, (-1, self.in_channels))
        values = values.transpose(-1, -2)  # -> (B, K, C, P / C)
        truth = self._split(patches)
        if self.target_type == 'per_channel':
            centre, scale = self._statistics(_to_rgb(truth, mean, std))
            return (values * scale + centre).flatten(-2).clamp(0, 1)
        if self.target_type == 'per_patch':
            centre, scale = self._statistics(truth)
            values = values * scale + centre
        return _to_rgb(values, mean, std).flatten(-2).clamp(0, 1)


def _to_rgb(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Undo the preprocessing of (B, K, C, P / C) values."""
    return (values * std.view(-1, 1) + mean.view(-1, 1)) / 255


@MODELS.register_module()
class TokenRelationHead(BaseModule):
    """Token relations as the target, TinyMIM. It has no parameters.

    Args:
        relations: See :class:`TokenRelationLoss`.
    """

    reads_relations = True

    def __init__(
        self, relations: Sequence[str] = ('qk', 'vv'), init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.loss_module = MODELS.build(dict(type='amd_mm.TokenRelationLoss', relations=relations))

    def loss(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Compare two (3, B, H, N, d): ``loss_qk`` and ``loss_vv``, or as configured."""
        losses = self.loss_module(student, teacher)
        return {f'loss_{name}': value for name, value in losses.items()}


@MODELS.register_module()
class FeatureTargetHead(BaseModule):
    """The features of the teacher's block as the target, for comparison with relations.

    A linear layer projects the student's tokens to the teacher's width.

    Args:
        student_dims: Width of the student; TinyMIM fills it in.
        teacher_dims: Width of the teacher; TinyMIM fills it in.
        tokens: ``all``, or ``class`` for the class token alone.
        loss: Config of the distance.

    Raises:
        ConfigError: If ``tokens`` is unknown.
    """

    reads_relations = False

    def __init__(
        self,
        student_dims: int,
        teacher_dims: int,
        tokens: str = 'all',
        loss: dict = dict(type='amd_mm.FeatureAlignmentLoss', distance='l1'),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if tokens not in TOKENS:
            raise ConfigError(f'tokens must be one of {TOKENS}, got {tokens!r}')
        self.tokens = tokens
        self.projection = nn.Linear(student_dims, teacher_dims)
        self.loss_module = MODELS.build(loss)

    def loss(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Compare (B, N, Cs) with (B, N, Ct): ``loss_feature`` or ``loss_class``."""
        if self.tokens == 'class':
            prediction = self.projection(student[:, :1])
            return dict(loss_class=self.loss_module(prediction, teacher[:, :1]))
        return dict(loss_feature=self.loss_module(self.projection(student), teacher))
