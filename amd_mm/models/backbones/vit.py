"""The video backbone, and the mixin that encodes a subset of the tokens."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS, type_name
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmengine.logging import print_log
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from ..utils import (
    DEFAULT_NORM,
    Grid,
    build_blocks,
    checkpoint_blocks,
    gather_tokens,
    patchify,
    position_table,
    resize_position_table,
    rotary_angles,
)
from ..utils import compile_blocks as compile_in_place

InitCfg = dict | list[dict] | None


@dataclass(frozen=True)
class EncoderOutput:
    """Output of :meth:`TokenSubsetMixin.encode`.

    Attributes:
        tokens: (B, E + K, C), after the final norm, the E class tokens first (0 for video); None if
            the encoder stopped early.
        layers: (B, E + K, C) each, the residual stream after the requested blocks.
    """

    tokens: Tensor | None
    layers: list[Tensor]


class TokenSubsetMixin:
    """Encodes a subset of the tokens, returns layers and can stop early.

    List the mixin before the host's ViT. The class provides :meth:`embed` and the attributes below.
    """

    # Inputs are (B, C, H, W) or (B, C, T, H, W).
    input_dims: int
    # Norms after the last block; a teacher does without them.
    closing_norms: tuple[str, ...]
    # The norm that fine-tuning initialises: a pre-trained checkpoint does not have it.
    pooled_norm: str

    blocks: Any  # nn.ModuleList
    norm: nn.Module  # after the last block
    patch_embed: Any
    in_channels: int
    patch_shape: tuple[int, int, int]  # frames, rows and columns of a patch
    token_grid: Grid
    pretrained: str | None
    pretrained_prefix: str | None

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def patch_dims(self) -> int:
        """Values of a patch, P."""
        return self.patch_embed.projection.weight[0].numel()

    def grid_of(self, inputs: Tensor) -> Grid:
        """Tokens of inputs (B, C, [T,] H, W) along (time, height, width)."""
        size = (1, *inputs.shape[2:])[-3:]
        time, height, width = (length // side for length, side in zip(size, self.patch_shape))
        return time, height, width

    def patchify(self, inputs: Tensor) -> Tensor:
        """Cut normalised inputs into patches: (B, C, [T,] H, W) -> (B, N, P), channel first.

        Raises:
            ValueError: If the inputs have other dimensions or channels than the backbone, or the
                patches do not tile them.
        """
        if inputs.ndim != self.input_dims:
            expected = '(B, C, T, H, W)' if self.input_dims == 5 else '(B, C, H, W)'
            raise ValueError(f'inputs must be {expected}, got {tuple(inputs.shape)}')
        if inputs.shape[1] != self.in_channels:
            raise ValueError(
                f'inputs have {inputs.shape[1]} channels, the backbone was built with '
                f'in_channels={self.in_channels}'
            )
        clip = inputs if inputs.ndim == 5 else inputs.unsqueeze(2)  # -> (B, C, T, H, W)
        return patchify(clip, self.patch_shape)

    def embed(
        self, patches: Tensor, token_ids: Tensor | None = None, grid: Grid | None = None
    ) -> Tensor:
        """Embed patches and add positions and class tokens; see :meth:`encode`.

        Returns:
            (B, E + K, C), the input of the first block.

        Raises:
            ValueError: If the patches do not fill the grid.
        """
        raise NotImplementedError  # the two ViTs differ in it

    def rotation(
        self, tokens: Tensor, token_ids: Tensor | None = None, grid: Grid | None = None
    ) -> tuple[Tensor, ...]:
        """Further arguments of every block: (cosines, sines) of rotary positions, or nothing."""
        return ()

    def encode(
        self,
        patches: Tensor,
        token_ids: Tensor | None = None,
        layers: Sequence[int] = (),
        stop_early: bool = False,
        grid: Grid | None = None,
    ) -> EncoderOutput:
        """Encode some tokens.

        Args:
            patches: (B, N, P), all patches of the clip or image.
            token_ids: (B, K), int64, the tokens to encode, in the order of the output; all by
                default.
            layers: Blocks whose output is returned, counted from 1, rising.
            stop_early: Run neither the blocks after the last layer nor the final norm.
            grid: Tokens along (time, height, width), if not of the configured size.

        Raises:
            ValueError: If a layer is not one of the blocks.
        """
        check_layers(layers, self.depth)
        last = layers[-1] if stop_early and layers else self.depth
        tokens = self.embed(patches, token_ids, grid)  # (B, N, P) -> (B, E + K, C)
        rotation = self.rotation(tokens, token_ids, grid)
        kept = []
        for number, block in enumerate(self.blocks[:last], start=1):
            tokens = block(tokens, *rotation)
            if number in layers:
                kept.append(tokens)
        return EncoderOutput(None if stop_early else self.norm(tokens), kept)

    def load_pretrained(self) -> None:
        """Load ``pretrained``, if given, by the strict loader."""
        if self.pretrained:
            from amd_mm.checkpoints import load_encoder

            encoder: Any = self
            load_encoder(
                encoder,
                self.pretrained,
                allow_missing=(self.pooled_norm,),
                prefix=self.pretrained_prefix,
                remedy=f'Give a file with every weight of the backbone except {self.pooled_norm}.',
            )


def check_layers(layers: Sequence[int], depth: int) -> None:
    """Require rising block numbers from 1 to ``depth``; there may be none."""
    rising = all(a < b for a, b in itertools.pairwise(layers))
    if not rising or any(not 1 <= layer <= depth for layer in layers):
        raise ConfigError(
            f'layers must be rising block numbers from 1 to {depth}, got {list(layers)}'
        )


def check_patch_embedding(patches: Tensor, grid: Grid, num_tokens: int) -> None:
    """Require as many patches as the position table has tokens."""
    if patches.shape[1] != num_tokens:
        raise ValueError(
            f'{patches.shape[1]} patches do not fill the grid {grid} of {num_tokens} tokens'
        )


def pop_pretrained(
    init_cfg: InitCfg, pretrained: str | None, default: InitCfg
) -> tuple[InitCfg, str | None, str | None]:
    """Replace ``init_cfg=dict(type='Pretrained')``: MMEngine's loader is not strict.

    Args:
        init_cfg: The backbone's.
        pretrained: The backbone's.
        default: The ``init_cfg`` to use instead.

    Returns:
        ``init_cfg``, the checkpoint and the prefix of its names.

    Raises:
        ConfigError: If two checkpoints are given.
    """
    if not isinstance(init_cfg, dict) or type_name(init_cfg) != 'Pretrained':
        return init_cfg, pretrained, None
    if pretrained:
        raise ConfigError(
            f'give one of pretrained={pretrained!r} and init_cfg={dict(init_cfg)}, not both'
        )
    return default, init_cfg['checkpoint'], init_cfg.get('prefix')


# MMAction2's default, copied because MMAction2 does not export it.
DEFAULT_INIT = [
    dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
]


@MODELS.register_module()
class VideoVisionTransformer(TokenSubsetMixin, VisionTransformer):
    """MMAction2's ViT with token subsets, layers and fused attention.

    Parameters and their names are those of ``mmaction.VisionTransformer``, and checkpoints go both
    ways. Arguments that are not listed here are its arguments. Unlike there, frames need not be
    square, the position table is also resampled in time, ``pretrained`` is loaded, and an unknown
    argument is an error.

    Args:
        img_size: Height and width of a frame.
        use_mean_pooling: True: ``fc_norm`` after the mean over the tokens (recogniser). False:
            ``norm`` of every token (masked autoencoder).
        pretrained: Checkpoint of any known format, which :meth:`init_weights` loads strictly.
            ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)`` does the same.
        return_feat_map: Let :meth:`forward` return (B, C, T', H', W').
        pos_embed_type: See :func:`amd_mm.models.utils.position_table`; or ``rope_3d``, V-JEPA 2's
            rotary positions (:func:`amd_mm.models.utils.rotary_angles`), without any table. They
            hold for every grid. Decoders then use ``sincos_1d``.
        fused_attention: False uses MMAction2's own attention.
        compile_blocks: ``torch.compile`` each block in place.
        with_cp: Recompute each block in the backward pass, which saves memory (gradient
            checkpointing).

    Raises:
        ConfigError: If a size is not a multiple of the patch, the heads do not divide the width, or
            ``rope_3d`` meets an argument that it excludes.
    """

    input_dims = 5
    num_extra_tokens = 0  # no class token
    closing_norms = ('norm', 'fc_norm')
    pooled_norm = 'fc_norm'
    pos_embed: Tensor | None  # (1, N, C): a parameter or a buffer; None if positions are rotary
    fc_norm: nn.Module | None

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        embed_dims: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_cfg: dict = DEFAULT_NORM,
        init_values: float = 0.0,
        use_learnable_pos_emb: bool = False,
        num_frames: int = 16,
        tubelet_size: int = 2,
        use_mean_pooling: bool = True,
        pretrained: str | None = None,
        return_feat_map: bool = False,
        init_cfg: InitCfg = DEFAULT_INIT,
        pos_embed_type: str = 'sincos_1d',
        fused_attention: bool = True,
        compile_blocks: bool = False,
        with_cp: bool = False,
    ) -> None:
        height, width = to_2tuple(img_size)
        if height % patch_size or width % patch_size or num_frames % tubelet_size:
            raise ConfigError(
                f'img_size={img_size} must be a multiple of patch_size={patch_size}, and '
                f'num_frames={num_frames} of tubelet_size={tubelet_size}'
            )
        init_cfg, pretrained, prefix = pop_pretrained(init_cfg, pretrained, DEFAULT_INIT)
        # The host builds patch embedding, dropout and final norm. Blocks and position table are
        # ours.
        super().__init__(
            img_size=patch_size,
            patch_size=patch_size,
            in_channels=in_channels,
            embed_dims=embed_dims,
            depth=0,
            num_heads=num_heads,
            drop_rate=drop_rate,
            norm_cfg=norm_cfg,
            num_frames=tubelet_size,
            tubelet_size=tubelet_size,
            use_mean_pooling=use_mean_pooling,
            return_feat_map=return_feat_map,
            init_cfg=init_cfg,
        )
        self.in_channels = in_channels
        self.tubelet_size = tubelet_size
        self.num_heads = num_heads
        self.rotary = pos_embed_type == 'rope_3d'
        self.pos_embed_type = 'sincos_1d' if self.rotary else pos_embed_type  # also of decoders
        self.pretrained = pretrained
        self.pretrained_prefix = prefix
        self.patch_shape = (tubelet_size, patch_size, patch_size)
        self.token_grid = (num_frames // tubelet_size, height // patch_size, width // patch_size)
        self.grid_size = self.token_grid[1:]
        del self.pos_embed
        if self.rotary:
            self.pos_embed = None
            head_dims = embed_dims // num_heads
            if head_dims < 6 or head_dims % 2:
                raise ConfigError(
                    f"pos_embed_type='rope_3d' needs heads of an even width from 6, and embed_dims="
                    f'{embed_dims} with num_heads={num_heads} gives {head_dims}: change one of them'
                )
            if use_learnable_pos_emb or init_values or not fused_attention:
                raise ConfigError(
                    "pos_embed_type='rope_3d' needs use_learnable_pos_emb=False, init_values=0 and "
                    'fused_attention=True'
                )
        elif use_learnable_pos_emb:
            self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(self.token_grid), embed_dims))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        else:
            table = position_table(self.token_grid, embed_dims, pos_embed_type)
            self.register_buffer('pos_embed', table)
        self.blocks = build_blocks(
            depth,
            embed_dims,
            num_heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate,
            drop_path_rate=drop_path_rate,
            init_values=init_values,
            norm_cfg=norm_cfg,
            fused_attention=fused_attention,
            key_bias=qkv_bias and self.rotary,
            rotary=self.rotary,
        )
        if with_cp:
            checkpoint_blocks(self)
        if compile_blocks:
            compile_in_place(self)

    def init_weights(self) -> None:
        """Initialise, then load ``pretrained``."""
        super().init_weights()
        self.load_pretrained()

    def check_decodable(self) -> None:
        """Require normed tokens, as the decoder of a masked autoencoder reads them."""
        if self.fc_norm is not None:
            raise ConfigError(
                'a masked autoencoder reads normed tokens: set backbone.use_mean_pooling=False'
            )

    def embed(
        self, patches: Tensor, token_ids: Tensor | None = None, grid: Grid | None = None
    ) -> Tensor:
        """Embed the given tokens only; a convolution whose stride is its kernel is linear."""
        grid = grid or self.token_grid
        check_patch_embedding(patches, grid, math.prod(grid))
        if token_ids is not None:
            patches = gather_tokens(patches, token_ids)  # (B, N, P) -> (B, K, P)
        conv = self.patch_embed.projection
        tokens = F.linear(patches, conv.weight.flatten(1), conv.bias)  # -> (B, K, C)
        if self.pos_embed is not None:
            table = resize_position_table(self.pos_embed, self.token_grid, grid)
            tokens = tokens + (table if token_ids is None else table[0][token_ids])
        return self.pos_drop(tokens)

    def rotation(
        self, tokens: Tensor, token_ids: Tensor | None = None, grid: Grid | None = None
    ) -> tuple[Tensor, ...]:
        """(cosines, sines), (B, 1, K, d) each, if positions are rotary."""
        if not self.rotary:
            return ()
        if token_ids is None:
            token_ids = torch.arange(tokens.shape[1], device=tokens.device)[None]
        head_dims = tokens.shape[-1] // self.num_heads
        angles = rotary_angles(token_ids, grid or self.token_grid, head_dims)
        return angles.cos(), angles.sin()

    def forward(self, x: Tensor) -> Tensor:
        """Features of clips, as MMAction2's backbone returns them.

        Args:
            x: (B, C, T, H, W), normalised.

        Returns:
            (B, C), or (B, C, T', H', W') with ``return_feat_map``.
        """
        grid = self.grid_of(x)
        tokens = self.encode(self.patchify(x), grid=grid).tokens  # (B, N, C)
        assert tokens is not None  # it did not stop early
        if self.return_feat_map:
            return tokens.transpose(1, 2).unflatten(2, grid)
        if self.fc_norm is not None:
            return self.fc_norm(tokens.mean(1))
        return tokens[:, 0]


@MODELS.register_module()
class FeatureMapVisionTransformer(VideoVisionTransformer):
    """The video ViT as a detector's backbone: it returns a normed feature map.

    ``norm``, which normalises every token, is taken from ``pretrained``: from its ``norm`` if the
    checkpoint is pre-trained, and from its ``fc_norm`` if it is fine-tuned. The log says which.
    (MMAction2's ViT has no norm, or a randomly initialised one.) The norm also makes the map
    float32 under autocast, which ``mmcv.ops.RoIAlign`` needs.

    :meth:`forward` returns (B, embed_dims, T', H', W') for a clip whose height and width are
    multiples of the patch.

    Args:
        **vit: Arguments of :class:`VideoVisionTransformer`, except ``use_mean_pooling`` and
            ``return_feat_map``.
    """

    def __init__(self, **vit: Any) -> None:
        super().__init__(use_mean_pooling=False, return_feat_map=True, **vit)

    def init_weights(self) -> None:
        """Initialise, then load ``pretrained`` and choose the norm."""
        fine_tuned = self.pretrained is not None and self._is_fine_tuned(self.pretrained)
        if fine_tuned:
            # The loader sees a recogniser's backbone, with fc_norm.
            self.norm, self.fc_norm = nn.Identity(), self.norm
        try:
            super().init_weights()
        finally:
            if fine_tuned:
                self.norm, self.fc_norm = self.get_submodule('fc_norm'), None
        if self.pretrained:
            name, kind = ('fc_norm', 'fine-tuned') if fine_tuned else ('norm', 'pre-trained')
            print_log(
                f"The feature map's norm is {self.pretrained}'s {name}: the checkpoint is {kind}",
                logger='current',
            )

    def _is_fine_tuned(self, path: str) -> bool:
        from amd_mm.checkpoints import read_checkpoint, unwrap

        prefix = self.pretrained_prefix or ''
        return any(
            name.startswith(prefix) and name.endswith('fc_norm.weight')
            for name in unwrap(read_checkpoint(path))
        )
