"""How a student's features are compared with a teacher's, AMD section 3.

All necks take the student's layers on the tokens that both see. *Direct*
predictions are of the teacher's features on those tokens, *generated* ones of
its features on the extra tokens, which only the teacher sees. E is the number
of class tokens (0 for video), which come first and count as visible.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from amd_mm.registry import MODELS
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from ..mask_generators import TokenPartition
from ..utils import Grid
from ..utils.blocks import DEFAULT_NORM
from .mask_token_blocks import XAVIER_INIT, InitCfg, MaskTokenBlocks

L2 = dict(type='amd_mm.FeatureAlignmentLoss', distance='l2')


@dataclass(frozen=True)
class Aligned:
    """Predictions of a teacher's layers, one entry a pair of layers.

    Attributes:
        direct (List[Tensor], optional): (B, E + Kv, C) each, on the visible.
        generated (List[Tensor], optional): (B, Kg, C) each, on the extra
            tokens that are generated (all of them by default), which are the
            teacher's last.
    """

    direct: list[Tensor] | None = None
    generated: list[Tensor] | None = None


class AlignmentNeck(BaseModule):
    """Base of the alignment necks: the loss; subclasses predict.

    Args:
        loss (dict): Config of the distance.
        init_cfg (dict | List[dict], optional): Initialisation.

    Attributes:
        aligns_visible (bool): Whether it makes direct predictions.
        aligns_teacher_only (bool): Whether it makes generated ones.
        trains_without (Tuple[str, ...]): Losses, ``direct`` or
            ``generation``, that may have a weight of 0: another one trains
            all parameters.
    """

    aligns_visible = False
    aligns_teacher_only = False
    trains_without: tuple[str, ...] = ()

    def __init__(self, loss: dict = L2, init_cfg: InitCfg = XAVIER_INIT):
        super().__init__(init_cfg=init_cfg)
        self.loss_module = MODELS.build(loss)

    @abstractmethod
    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Predict the teacher's layers from the student's.

        Args:
            layers (Sequence[Tensor]): (B, E + Kv, Cs), the student's.
            partition (TokenPartition): Who sees what.

        Returns:
            Aligned: Predictions of the teacher's width.
        """

    def loss(self, predicted: Aligned, teacher_layers: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Compare predictions with the teacher's layers.

        Args:
            predicted (Aligned): From :meth:`forward`.
            teacher_layers (Sequence[Tensor]): (B, E + Kv + Ke, Ct) each, the
                visible tokens first.

        Returns:
            Dict[str, List[Tensor]]: ``direct`` and ``generation`` as far as
            the neck has them: a scalar for every pair of layers.
        """
        losses = dict()
        if predicted.direct is not None:
            losses['direct'] = [
                self.loss_module(mine, theirs[:, : mine.shape[1]])
                for mine, theirs in zip(predicted.direct, teacher_layers)
            ]
        if predicted.generated is not None:
            losses['generation'] = [
                self.loss_module(mine, theirs[:, -mine.shape[1] :])
                for mine, theirs in zip(predicted.generated, teacher_layers)
            ]
        return losses


def _linears(student_dims: int, teacher_dims: int, num_pairs: int, bias: bool) -> ModuleList:
    return ModuleList([nn.Linear(student_dims, teacher_dims, bias=bias) for _ in range(num_pairs)])


def _apply(modules: ModuleList, layers: Sequence[Tensor]) -> list[Tensor]:
    return [module(layer) for module, layer in zip(modules, layers)]


@MODELS.register_module()
class DirectAlignment(AlignmentNeck):
    """Direct alignment: a projection of the visible tokens, AMD section 3.3.

    Also DMAE's (CVPR 2023): its paper has the MLP, its released code the one
    linear layer.

    Args:
        student_dims (int): Width of the student; AMD fills it in.
        teacher_dims (int): Width of the teacher; AMD fills it in.
        num_pairs (int): Pairs of layers; AMD fills it in.
        hidden (bool): A two-layer MLP with a hidden layer of the teacher's
            width and GELU (True, AMD), or one linear layer (DMAE released).
        loss (dict): Config of the distance.
        init_cfg (dict | List[dict], optional): Initialisation.
    """

    aligns_visible = True

    def __init__(
        self,
        student_dims: int,
        teacher_dims: int,
        num_pairs: int,
        hidden: bool = True,
        loss: dict = L2,
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(loss, init_cfg)
        if hidden:
            self.projections = ModuleList(
                [
                    nn.Sequential(
                        nn.Linear(student_dims, teacher_dims),
                        nn.GELU(),
                        nn.Linear(teacher_dims, teacher_dims),
                    )
                    for _ in range(num_pairs)
                ]
            )
        else:
            self.projections = _linears(student_dims, teacher_dims, num_pairs, True)

    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Project every layer to the teacher's width.

        Args:
            layers (Sequence[Tensor]): (B, E + Kv, Cs) each, the student's.
            partition (TokenPartition): Not used: what is visible is aligned
                where it is.

        Returns:
            Aligned: ``direct``, (B, E + Kv, Ct) for every pair of layers.
        """
        return Aligned(direct=_apply(self.projections, layers))


@MODELS.register_module()
class GenerationAlignment(AlignmentNeck):
    """Generation alignment alone, AMD section 3.3.

    The visible tokens are brought to the teacher's width and a small
    transformer generates the extra tokens from them.

    Args:
        student_dims (int): Width of the student; AMD fills it in.
        teacher_dims (int): Width of the teacher; AMD fills it in.
        num_pairs (int): Pairs of layers; AMD fills it in.
        grid (Grid): The clip's tokens along (time, height, width); AMD fills
            it in.
        generator_depth (int): Blocks of a generator.
        generator_heads (int, optional): Its heads; of width 64 by default.
        norm_cfg (dict): Its norm layers.
        pos_embed_type (str): AMD fills in the backbone's.
        fused_attention (bool): Fused attention.
        loss (dict): Config of the distance.
        init_cfg (dict | List[dict], optional): Initialisation.

    Raises:
        ValueError: If a generator would have no block.
    """

    aligns_teacher_only = True
    projection_bias = True

    def __init__(
        self,
        student_dims: int,
        teacher_dims: int,
        num_pairs: int,
        grid: Grid,
        generator_depth: int = 2,
        generator_heads: int | None = None,
        norm_cfg: dict = DEFAULT_NORM,
        pos_embed_type: str = 'sincos_1d',
        fused_attention: bool = True,
        loss: dict = L2,
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(loss, init_cfg)
        if generator_depth < 1:
            raise ValueError(
                'generator_depth is the number of blocks of a '
                f'generator, at least 1, got {generator_depth}'
            )
        if generator_heads is None:
            generator_heads = max(teacher_dims // 64, 1)
        self.build_projections(student_dims, teacher_dims, num_pairs)
        self.generators = ModuleList(
            [
                MaskTokenBlocks(
                    teacher_dims,
                    generator_depth,
                    generator_heads,
                    grid,
                    norm_cfg=norm_cfg,
                    pos_embed_type=pos_embed_type,
                    fused_attention=fused_attention,
                    init_cfg=init_cfg,
                )
                for _ in range(num_pairs)
            ]
        )

    def build_projections(self, student_dims: int, teacher_dims: int, num_pairs: int) -> None:
        """Build what brings the layers to the teacher's width.

        Args:
            student_dims (int): Width of the student, Cs.
            teacher_dims (int): Width of the teacher, Ct.
            num_pairs (int): Pairs of layers; each has a linear layer of its own.
        """
        self.projections = _linears(student_dims, teacher_dims, num_pairs, self.projection_bias)

    def generate(self, tokens: Sequence[Tensor], partition: TokenPartition) -> list[Tensor]:
        """Generate the teacher's extra tokens from the visible ones.

        Args:
            tokens (Sequence[Tensor]): (B, E + Kv, Ct) for every pair of layers,
                the student's at the teacher's width, without positions.
            partition (TokenPartition): Says where the visible tokens are and
                which ones to generate.

        Returns:
            List[Tensor]: (B, Kg, Ct) for every pair of layers.
        """
        return [
            generator.fill_in(visible, partition.visible, partition.generation_targets)
            for generator, visible in zip(self.generators, tokens)
        ]

    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Project every layer, then generate what only the teacher sees.

        Args:
            layers (Sequence[Tensor]): (B, E + Kv, Cs) each, the student's.
            partition (TokenPartition): Who sees what.

        Returns:
            Aligned: ``generated``, (B, Kg, Ct) for every pair of layers.
        """
        return Aligned(generated=self.generate(_apply(self.projections, layers), partition))


@MODELS.register_module()
class ParallelAlignment(GenerationAlignment):
    """Direct and generation alignment side by side, nothing shared.

    AMD section 3.3 and supplement B: the direct branch is one linear layer
    per pair of layers. Arguments and errors are those of
    :class:`GenerationAlignment`.
    """

    aligns_visible = True

    def build_projections(self, student_dims: int, teacher_dims: int, num_pairs: int) -> None:
        """Build the generator's linear layers, and those of the direct branch.

        Args:
            student_dims (int): Width of the student, Cs.
            teacher_dims (int): Width of the teacher, Ct.
            num_pairs (int): Pairs of layers; each has two linear layers.
        """
        super().build_projections(student_dims, teacher_dims, num_pairs)
        self.direct_projections = _linears(student_dims, teacher_dims, num_pairs, True)

    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Predict both sets of the teacher's tokens, independently.

        Args:
            layers (Sequence[Tensor]): (B, E + Kv, Cs) each, the student's.
            partition (TokenPartition): Who sees what.

        Returns:
            Aligned: For every pair of layers ``direct``, (B, E + Kv, Ct), and
            ``generated``, (B, Kg, Ct).
        """
        return Aligned(
            direct=_apply(self.direct_projections, layers),
            generated=super().forward(layers, partition).generated,
        )


@MODELS.register_module()
class SerialAlignment(GenerationAlignment):
    """Serial alignment, AMD's default: one projection serves both.

    AMD section 3.3: a bias-free linear layer per pair of layers gives the
    direct prediction, which also enters the generator. Arguments and errors
    are those of :class:`GenerationAlignment`.
    """

    aligns_visible = True
    # The projection feeds the generator.
    trains_without = ('direct',)
    projection_bias = False

    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Predict the visible tokens, and generate the extra from them.

        Args:
            layers (Sequence[Tensor]): (B, E + Kv, Cs) each, the student's.
            partition (TokenPartition): Who sees what.

        Returns:
            Aligned: For every pair of layers ``direct``, (B, E + Kv, Ct), and
            ``generated``, (B, Kg, Ct).
        """
        direct = _apply(self.projections, layers)
        return Aligned(direct=direct, generated=self.generate(direct, partition))
