from collections.abc import Sequence

import torch
import torch.nn.functional as F
from amd_mm.registry import MODELS
from torch import Tensor, nn

# What is compared with what, as places in (query, key, value).
_RELATIONS = dict(qk=(0, 1), vv=(2, 2), qq=(0, 0), kk=(1, 1))


def token_relation(qkv: Tensor, relation: str) -> Tensor:
    """How much each token attends to each other one, in log-space.

    ``log_softmax(A Bᵀ / √d)`` for a head of width d, TinyMIM section 3.2. It
    is float32 throughout, under autocast as well: the product of a value with
    itself overflows half precision, and the logarithm of a softmax that has
    underflowed is infinite.

    Args:
        qkv (Tensor): (3, B, H, N, d): query, key and value of H heads.
        relation (str): ``qk``, ``vv``, ``qq`` or ``kk``.

    Returns:
        Tensor: (B, H, N, N), float32, the logarithms of rows that sum to 1.
    """
    first, second = _RELATIONS[relation]
    with torch.autocast(qkv.device.type, enabled=False):
        left, right = qkv[first].float(), qkv[second].float()
        logits = left * left.shape[-1] ** -0.5 @ right.transpose(-2, -1)
        return logits.log_softmax(-1)


@MODELS.register_module()
class TokenRelationLoss(nn.Module):
    """Distance of a student's token relations from a teacher's.

    TinyMIM (CVPR 2023, arXiv 2301.01296), section 3.2.

    A relation is a distribution over the tokens for every token and head, so
    the widths of student and teacher may differ; the numbers of heads may not.
    The loss is the KL divergence of the student's from the teacher's, summed
    over the tokens that are attended to, and averaged over the rest.

    Args:
        relations (Sequence[str]): Which ones: ``qk`` and ``vv`` are TinyMIM's
            choice; ``qq`` and ``kk`` are there to compare.

    Raises:
        ValueError: If a relation is unknown or named twice, or there is none.
    """

    def __init__(self, relations: Sequence[str] = ('qk', 'vv')) -> None:
        super().__init__()
        known, wanted = set(_RELATIONS), list(relations)
        if (
            isinstance(relations, str)
            or not wanted
            or set(wanted) - known
            or len(set(wanted)) < len(wanted)
        ):
            raise ValueError(
                f'relations are some of {list(_RELATIONS)}, each once, as a list; got {relations!r}'
            )
        self.relations = tuple(wanted)

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Compare.

        Args:
            student (Tensor): (3, B, H, N, d), query, key and value.
            teacher (Tensor): (3, B, H, N, d'), without gradient.

        Returns:
            Dict[str, Tensor]: Relation -> scalar, float32.

        Raises:
            ValueError: If the heads or the tokens are not equally many.
        """
        if student.shape[1:4] != teacher.shape[1:4]:
            raise ValueError(
                'relations are compared head by head and token by token: '
                f'the student has (images, heads, tokens) = '
                f'{tuple(student.shape[1:4])}, the teacher '
                f'{tuple(teacher.shape[1:4])}'
            )
        losses = dict()
        for relation in self.relations:
            with torch.no_grad():
                target = token_relation(teacher, relation)
            mine = token_relation(student, relation)
            total = F.kl_div(mine, target, reduction='sum', log_target=True)
            losses[relation] = total / target[..., 0].numel()
        return losses

    def extra_repr(self) -> str:
        """The settings, as ``print(model)`` shows them."""
        return f'relations={self.relations}'
