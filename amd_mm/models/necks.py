"""Prediction of a teacher's features from a student's, AMD section 3.3.

All necks take the student's layers on the visible tokens, (B, E + Kv, Cs) each. *Direct*
predictions are of the teacher's features on the same tokens, *generated* predictions of those on
the teacher-only tokens. E is the number of class tokens (0 for video), which come first and count
as visible. AMD fills in ``student_dims`` (Cs), ``teacher_dims`` (Ct), ``num_pairs``, and for necks
that generate ``grid`` and ``pos_embed_type``.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from .mask_generators import TokenPartition
from .utils import DEFAULT_NORM, Grid, build_blocks, position_table

# Initialisation of the public masked autoencoders.
XAVIER_INIT = [
    dict(type='Xavier', layer='Linear', distribution='uniform', bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
]

InitCfg = dict | list[dict] | None


class MaskTokenBlocks(BaseModule):
    """Transformer blocks that predict tokens from other tokens and mask tokens.

    They are the decoder of a masked autoencoder (MAE and VideoMAE, section 3 of both) and AMD's
    generator of features (section 3.3, supplement B).

    Args:
        embed_dims: Width of a token.
        depth: Number of blocks.
        num_heads: Attention heads.
        grid: The clip's tokens along (time, height, width).
        key_bias: See :class:`amd_mm.models.utils.FusedAttention`.
        pos_embed_type: See :func:`amd_mm.models.utils.position_table`.
        fused_attention: False uses MMAction2's own attention.
        drop_path_rate: Drop path of the last block; it grows linearly from 0 at the first.
        init_cfg: Xavier uniform by default, as in the public programs.
    """

    def __init__(
        self,
        embed_dims: int,
        depth: int,
        num_heads: int,
        grid: Grid,
        key_bias: bool = False,
        pos_embed_type: str = 'sincos_1d',
        fused_attention: bool = True,
        drop_path_rate: float = 0.0,
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dims = embed_dims
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        table = position_table(grid, embed_dims, pos_embed_type)
        self.register_buffer('pos_embed', table, persistent=False)
        self.blocks = build_blocks(
            depth,
            embed_dims,
            num_heads,
            key_bias=key_bias,
            drop_path_rate=drop_path_rate,
            fused_attention=fused_attention,
        )

    def init_weights(self) -> None:
        """Initialise; the mask token from a normal distribution of deviation 0.02."""
        super().init_weights()
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def fill_in(self, tokens: Tensor, seen: Tensor, wanted: Tensor) -> Tensor:
        """Predict the tokens at the positions ``wanted``.

        Args:
            tokens: (B, E + Ks, C), without positions; E class tokens, which have no position, come
                first.
            seen: (B, Ks), int64, positions of the other tokens.
            wanted: (B, Kw), int64.

        Returns:
            (B, Kw, C), after the last block.
        """
        table = self.pos_embed[0]  # (N, C)
        class_tokens = tokens.shape[1] - seen.shape[1]
        known = tokens + F.pad(table[seen], (0, 0, class_tokens, 0))  # (B, E + Ks, C)
        asked = self.mask_token.to(known.dtype) + table[wanted]  # (B, Kw, C)
        stream = torch.cat([known, asked], 1)  # -> (B, E + Ks + Kw, C)
        for block in self.blocks:
            stream = block(stream)
        return stream[:, tokens.shape[1] :]


@MODELS.register_module()
class PixelDecoder(MaskTokenBlocks):
    """The light decoder of a masked autoencoder, VideoMAE section 3.

    Args:
        in_dims: Width of the encoder; the algorithm fills it in, like the next two and
            ``pos_embed_type``.
        patch_dims: Values of a patch.
        embed_bias: Bias of the linear layer from the encoder's to the decoder's width, as in MAE.
    """

    def __init__(
        self,
        embed_dims: int,
        depth: int,
        num_heads: int,
        in_dims: int,
        patch_dims: int,
        grid: Grid,
        key_bias: bool = False,
        pos_embed_type: str = 'sincos_1d',
        fused_attention: bool = True,
        embed_bias: bool = False,
        drop_path_rate: float = 0.0,
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(
            embed_dims,
            depth,
            num_heads,
            grid,
            key_bias,
            pos_embed_type,
            fused_attention,
            drop_path_rate,
            init_cfg,
        )
        self.embed = nn.Linear(in_dims, embed_dims, bias=embed_bias)
        self.norm = build_norm_layer(DEFAULT_NORM, embed_dims)[1]
        self.head = nn.Linear(embed_dims, patch_dims)

    def forward(self, tokens: Tensor, seen: Tensor, wanted: Tensor) -> Tensor:
        """Predict the pixels of patches; see :meth:`fill_in` for the arguments.

        Args:
            tokens: (B, E + Ks, in_dims), from the encoder.
            seen: (B, Ks).
            wanted: (B, Kw).

        Returns:
            (B, Kw, patch_dims).
        """
        tokens = self.embed(tokens)  # -> (B, E + Ks, C)
        tokens = self.fill_in(tokens, seen, wanted)  # -> (B, Kw, C)
        return self.head(self.norm(tokens))


L2 = dict(type='amd_mm.FeatureAlignmentLoss', distance='l2')


@dataclass(frozen=True)
class Aligned:
    """Predictions of a teacher's layers, one for each pair of layers.

    Attributes:
        direct: (B, E + Kv, Ct) each, the visible tokens.
        generated: (B, Kg, Ct) each, the teacher's last Kg tokens.
    """

    direct: list[Tensor] | None = None
    generated: list[Tensor] | None = None


class AlignmentNeck(BaseModule):
    """Base of the alignment necks: the loss. Subclasses predict.

    Args:
        loss: Config of the distance.

    Attributes:
        aligns_visible: Whether there are direct predictions.
        aligns_teacher_only: Whether there are generated predictions.
        reads_tokens: Whether it takes the student's tokens after the final norm instead of layers.
        optional_losses: ``direct`` or ``generation``, if its weight may be 0 because the other loss
            trains all parameters.
    """

    aligns_visible = False
    aligns_teacher_only = False
    reads_tokens = False
    optional_losses: tuple[str, ...] = ()

    def __init__(self, loss: dict = L2, init_cfg: InitCfg = XAVIER_INIT) -> None:
        super().__init__(init_cfg=init_cfg)
        self.loss_module = MODELS.build(loss)

    @abstractmethod
    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Predict the teacher's layers from the student's, (B, E + Kv, Cs) each."""

    def loss(self, predicted: Aligned, teacher_layers: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Compare predictions with the teacher's layers.

        Args:
            predicted: From :meth:`forward`.
            teacher_layers: (B, E + Kv + Ke, Ct) each, the visible tokens first.

        Returns:
            A scalar for each pair of layers, under ``direct`` and ``generation`` as far as they are
            predicted.
        """
        losses = dict()
        if predicted.direct is not None:
            losses['direct'] = [
                self.loss_module(prediction, target[:, : prediction.shape[1]])
                for prediction, target in zip(predicted.direct, teacher_layers)
            ]
        if predicted.generated is not None:
            losses['generation'] = [
                self.loss_module(prediction, target[:, -prediction.shape[1] :])
                for prediction, target in zip(predicted.generated, teacher_layers)
            ]
        return losses


@MODELS.register_module()
class DirectAlignment(AlignmentNeck):
    """Direct alignment: a projection of the visible tokens. It is also the neck of DMAE.

    Args:
        hidden: True uses a two-layer MLP with GELU, whose hidden layer has the teacher's width
            (AMD, DMAE's paper); False one linear layer (DMAE as released).
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
        self.projections = ModuleList()
        for _ in range(num_pairs):
            projection: nn.Module = nn.Linear(student_dims, teacher_dims)
            if hidden:
                last = nn.Linear(teacher_dims, teacher_dims)
                projection = nn.Sequential(projection, nn.GELU(), last)
            self.projections.append(projection)

    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Make direct predictions."""
        return Aligned(direct=project(self.projections, layers))


class GeneratingNeck(AlignmentNeck):
    """Base of the necks that generate: a linear layer and a small transformer for each pair.

    Args:
        student_dims: Width of the student.
        teacher_dims: Width of the teacher.
        num_pairs: Pairs of layers.
        grid: The clip's tokens along (time, height, width).
        generator_depth: Blocks of a generator, whose attention heads are 64 wide.
        pos_embed_type: See :func:`amd_mm.models.utils.position_table`.
        fused_attention: False uses MMAction2's own attention.
        loss: Config of the distance.

    Attributes:
        projection_bias: Whether the linear layers have a bias.
        separate_direct: Whether direct predictions have linear layers of their own.

    Raises:
        ConfigError: If ``generator_depth`` is below 1.
    """

    aligns_teacher_only = True
    projection_bias = True
    separate_direct = False

    def __init__(
        self,
        student_dims: int,
        teacher_dims: int,
        num_pairs: int,
        grid: Grid,
        generator_depth: int = 2,
        pos_embed_type: str = 'sincos_1d',
        fused_attention: bool = True,
        loss: dict = L2,
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(loss, init_cfg)
        if generator_depth < 1:
            raise ConfigError(f'generator_depth must be at least 1, got {generator_depth}')
        pairs = range(num_pairs)
        self.projections = ModuleList(
            nn.Linear(student_dims, teacher_dims, self.projection_bias) for _ in pairs
        )
        if self.separate_direct:
            self.direct_projections = ModuleList(
                nn.Linear(student_dims, teacher_dims) for _ in pairs
            )
        self.generators = ModuleList(
            MaskTokenBlocks(
                teacher_dims,
                generator_depth,
                max(teacher_dims // 64, 1),
                grid,
                pos_embed_type=pos_embed_type,
                fused_attention=fused_attention,
                init_cfg=init_cfg,
            )
            for _ in pairs
        )

    def generate(self, projected: Sequence[Tensor], partition: TokenPartition) -> list[Tensor]:
        """Generate from visible tokens: (B, E + Kv, Ct) -> (B, Kg, Ct) each."""
        visible, wanted = partition.visible, partition.generation_targets
        return [
            generator.fill_in(tokens, visible, wanted)
            for generator, tokens in zip(self.generators, projected)
        ]


@MODELS.register_module()
class GenerationAlignment(GeneratingNeck):
    """Generation alignment: the visible tokens are projected, then enter a generator."""

    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Make generated predictions."""
        projected = project(self.projections, layers)  # (B, E + Kv, Cs) -> (B, E + Kv, Ct) each
        return Aligned(generated=self.generate(projected, partition))


@MODELS.register_module()
class ParallelAlignment(GeneratingNeck):
    """Direct and generation alignment side by side, which share nothing; supplement B.

    The direct branch is one linear layer.
    """

    aligns_visible = True
    separate_direct = True

    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Make direct and generated predictions, independently."""
        projected = project(self.projections, layers)  # (B, E + Kv, Cs) -> (B, E + Kv, Ct) each
        return Aligned(
            direct=project(self.direct_projections, layers),
            generated=self.generate(projected, partition),
        )


@MODELS.register_module()
class SerialAlignment(GeneratingNeck):
    """Serial alignment, AMD's default: the direct prediction enters the generator.

    One bias-free linear layer for each pair serves both.
    """

    aligns_visible = True
    optional_losses = ('direct',)
    projection_bias = False

    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Make direct predictions, and generate from them."""
        direct = project(self.projections, layers)  # (B, E + Kv, Cs) -> (B, E + Kv, Ct) each
        return Aligned(direct=direct, generated=self.generate(direct, partition))


@MODELS.register_module()
class MaskedTokenDecoder(AlignmentNeck):
    """A decoder that predicts the teacher's features of masked tokens, MVD section 3.

    It reads the student's tokens after the final norm and predicts one layer of the teacher at the
    teacher-only tokens: at all masked tokens if the teacher sees everything. MVD has one decoder
    for each teacher (arXiv 2212.04500).

    Args:
        student_dims: Width of the student.
        teacher_dims: Width of the teacher.
        num_pairs: Must be 1.
        grid: The clip's tokens along (time, height, width).
        embed_dims: Width of the decoder; the student's by default.
        depth: Number of blocks.
        num_heads: Attention heads, 64 wide by default.
        drop_path_rate: See :class:`MaskTokenBlocks`.
        pos_embed_type: See :func:`amd_mm.models.utils.position_table`.
        loss: Config of the distance; MVD's is smooth L1.

    Raises:
        ConfigError: If there are several pairs of layers.
    """

    aligns_teacher_only = True
    reads_tokens = True

    def __init__(
        self,
        student_dims: int,
        teacher_dims: int,
        num_pairs: int,
        grid: Grid,
        embed_dims: int | None = None,
        depth: int = 2,
        num_heads: int | None = None,
        drop_path_rate: float = 0.0,
        pos_embed_type: str = 'sincos_1d',
        loss: dict = dict(type='amd_mm.FeatureAlignmentLoss', distance='smooth_l1'),
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(loss, init_cfg)
        if num_pairs != 1:
            raise ConfigError(
                f'MaskedTokenDecoder predicts one layer of the teacher, layer_pairs has {num_pairs}'
            )
        width = embed_dims or student_dims
        self.decoder = PixelDecoder(
            width,
            depth,
            num_heads or max(width // 64, 1),
            in_dims=student_dims,
            patch_dims=teacher_dims,
            grid=grid,
            pos_embed_type=pos_embed_type,
            embed_bias=True,
            drop_path_rate=drop_path_rate,
            init_cfg=init_cfg,
        )

    def forward(self, layers: Sequence[Tensor], partition: TokenPartition) -> Aligned:
        """Make generated predictions from the student's tokens, the only layer."""
        (tokens,) = layers  # (B, E + Kv, Cs)
        wanted = partition.generation_targets
        return Aligned(generated=[self.decoder(tokens, partition.visible, wanted)])  # (B, Kg, Ct)


def project(projections: ModuleList, layers: Sequence[Tensor]) -> list[Tensor]:
    """Project each layer: (B, K, Cs) -> (B, K, Ct)."""
    return [projection(layer) for projection, layer in zip(projections, layers)]
