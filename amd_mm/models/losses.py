"""Distances of a student from its teacher: features (AMD, DMAE) and token relations (TinyMIM)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from torch import Tensor, nn

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
    with torch.autocast(qkv.device.type, enabled=False):
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
