"""What a student without a decoder learns from its teacher, TinyMIM."""

from collections.abc import Sequence

from amd_mm.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

TOKENS = ('all', 'class')


@MODELS.register_module()
class TokenRelationHead(BaseModule):
    """Learn the teacher's token relations: TinyMIM's target.

    Nothing of it is learnt: relations have no width to adapt to.

    Args:
        relations (Sequence[str]): See :class:`TokenRelationLoss`.
        init_cfg (dict, optional): Initialisation.
    """

    reads_relations = True

    def __init__(
        self, relations: Sequence[str] = ('qk', 'vv'), init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.loss_module = MODELS.build(dict(type='amd_mm.TokenRelationLoss', relations=relations))

    def loss(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Compare the relations.

        Args:
            student (Tensor): (3, B, H, N, d), query, key and value.
            teacher (Tensor): (3, B, H, N, d'), without gradient.

        Returns:
            Dict[str, Tensor]: ``loss_qk`` and ``loss_vv``, or as configured; a
            scalar each.
        """
        found = self.loss_module(student, teacher)
        return {f'loss_{name}': value for name, value in found.items()}


@MODELS.register_module()
class FeatureTargetHead(BaseModule):
    """Learn what comes out of the teacher's block: to compare with relations.

    The student's tokens go through one linear layer to the teacher's width.

    Args:
        student_dims (int): Width of the student.
        teacher_dims (int): Width of the teacher.
        tokens (str): ``all`` of them (feature targets), or the ``class`` token
            alone.
        loss (dict): Config of the distance.
        init_cfg (dict, optional): Initialisation.

    Raises:
        ValueError: If ``tokens`` is unknown.
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
            raise ValueError(f'tokens is one of {TOKENS}, got {tokens!r}')
        self.tokens = tokens
        self.projection = nn.Linear(student_dims, teacher_dims)
        self.loss_module = MODELS.build(loss)

    def loss(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Compare the features.

        Args:
            student (Tensor): (B, N, C), the class token first.
            teacher (Tensor): (B, N, C'), without gradient.

        Returns:
            Dict[str, Tensor]: ``loss_feature`` or ``loss_class``, a scalar.
        """
        if self.tokens == 'class':
            student, teacher = student[:, :1], teacher[:, :1]
        name = 'loss_class' if self.tokens == 'class' else 'loss_feature'
        return {name: self.loss_module(self.projection(student), teacher)}
