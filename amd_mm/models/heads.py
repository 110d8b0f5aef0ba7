"""Targets and losses: pixels, a teacher's features, token relations."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from .utils import bf16_autocast

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


DISTANCES = dict(l2=F.mse_loss, l1=F.l1_loss, smooth_l1=F.smooth_l1_loss)
# Which two of (query, key, value) a relation multiplies.
RELATIONS = dict(qk=(0, 1), vv=(2, 2), qq=(0, 0), kk=(1, 1))


@MODELS.register_module()
class FeatureAlignmentLoss(nn.Module):
    """Mean distance of features from the teacher's, in float32; AMD equations 5 and 6.

    Args:
        distance: ``l2`` (AMD), ``l1`` (DMAE) or ``smooth_l1``.
        normalize: Normalise both sides to unit length over the channels (DMAE as released).

    Raises:
        ConfigError: If the distance is unknown.
    """

    def __init__(self, distance: str = 'l2', normalize: bool = False) -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise ConfigError(f'distance must be one of {list(DISTANCES)}, got {distance!r}')
        self.distance = distance
        self.normalize = normalize

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distance of (B, K, C) predictions from targets, a scalar."""
        prediction, target = prediction.float(), target.float()
        if self.normalize:
            prediction = F.normalize(prediction, dim=-1, eps=1e-12)
            target = F.normalize(target, dim=-1, eps=1e-12)
        return DISTANCES[self.distance](prediction, target)

    def extra_repr(self) -> str:
        """The settings."""
        return f'distance={self.distance}, normalize={self.normalize}'


def token_relation(qkv: Tensor, relation: str) -> Tensor:
    """``log_softmax(A Bᵀ / √d)`` of each head, TinyMIM section 3.2.

    It is computed in float32, also under autocast: ``V Vᵀ`` overflows float16, and the logarithm of
    an underflowed softmax is infinite.

    Args:
        qkv: (3, B, H, N, d), query, key and value.
        relation: A key of ``RELATIONS``.

    Returns:
        (B, H, N, N), float32.
    """
    first, second = RELATIONS[relation]
    with bf16_autocast(qkv.device, enabled=False):
        left, right = qkv[first].float(), qkv[second].float()  # (B, H, N, d)
        logits = left * left.shape[-1] ** -0.5 @ right.transpose(-2, -1)  # -> (B, H, N, N)
        return logits.log_softmax(-1)


@MODELS.register_module()
class TokenRelationLoss(nn.Module):
    """KL divergence of the student's token relations from the teacher's.

    TinyMIM (CVPR 2023, arXiv 2301.01296), section 3.2. It is summed over the keys and averaged over
    images, heads and queries. The widths of student and teacher may differ.

    Args:
        relations: Some of ``qk``, ``vv`` (TinyMIM uses these two), ``qq`` and ``kk``.

    Raises:
        ConfigError: If a relation is unknown or named twice, or none is given.
    """

    def __init__(self, relations: Sequence[str] = ('qk', 'vv')) -> None:
        super().__init__()
        known = set(relations) <= set(RELATIONS) and len(set(relations)) == len(relations)
        if isinstance(relations, str) or not relations or not known:
            raise ConfigError(
                f'relations must be a list of some of {list(RELATIONS)}, got {relations!r}'
            )
        self.relations = tuple(relations)

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Compare two (3, B, H, N, d), whose d may differ.

        Returns:
            Relation -> scalar, float32.

        Raises:
            ValueError: If the numbers of images, heads or tokens differ.
        """
        if student.shape[1:4] != teacher.shape[1:4]:
            raise ValueError(
                'relations are compared head by head and token by token: the student has (images, '
                f'heads, tokens) = {tuple(student.shape[1:4])}, the teacher has '
                f'{tuple(teacher.shape[1:4])}'
            )
        losses = dict()
        for relation in self.relations:
            with torch.no_grad():
                target = token_relation(teacher, relation)  # (B, H, N, N)
            prediction = token_relation(student, relation)
            total = F.kl_div(prediction, target, reduction='sum', log_target=True)
            losses[relation] = total / target[..., 0].numel()
        return losses

    def extra_repr(self) -> str:
        """The settings."""
        return f'relations={self.relations}'
