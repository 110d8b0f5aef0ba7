from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmengine.utils import to_2tuple
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from ..utils import Grid, checkpoint_blocks, gather_tokens, position_table
from ..utils import compile_blocks as compile_in_place
from .vit import InitCfg, TokenSubsetMixin, check_layers, check_patch_embedding, pop_pretrained

# MAE's initialisation; init_weights adds the patch embedding and the class token.
MAE_INIT = [
    dict(type='Xavier', layer='Linear', distribution='uniform', bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
]


@MODELS.register_module()
class ImageVisionTransformer(TokenSubsetMixin, VisionTransformer):
    """MMPretrain's ViT with token subsets, layers and MAE's position table.

    Parameters, their names and :meth:`forward` are those of ``mmpretrain.VisionTransformer``, and
    checkpoints go both ways. An image is a clip of one frame: grids are (1, rows, columns).

    Args:
        arch: As in MMPretrain, whose ``small`` is not ViT-S (use ``deit-small``).
        use_learnable_pos_emb: Learn the position table (fine-tuning) instead of keeping it fixed
            (pre-training). It is initialised with the fixed table.
        pos_embed_type: See :func:`amd_mm.models.utils.position_table`. (MMPretrain's ``MAEViT``
            swaps the channels of rows and columns.)
        pretrained: Checkpoint of any known format, which :meth:`init_weights` loads strictly.
            ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)`` does the same.
        compile_blocks: ``torch.compile`` each block in place.
        with_cp: Recompute each block in the backward pass, which saves memory (gradient
            checkpointing).
        init_cfg: MAE's initialisation by default.
        **vit: Other arguments of ``mmpretrain.VisionTransformer``.

    Raises:
        ConfigError: If the image is not a multiple of the patch, patches overlap, or the heads do
            not divide the width.
        TypeError: For an unknown argument.
    """

    input_dims = 4
    closing_norms = ('ln1', 'ln2')
    pooled_norm = 'ln2'
    # Programs use different tables, so a checkpoint replaces even the fixed one.
    takes_position_table = True

    def __init__(
        self,
        arch: str | dict = 'base',
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_channels: int = 3,
        out_indices: Sequence[int] | int = -1,
        use_learnable_pos_emb: bool = False,
        pos_embed_type: str = 'sincos_2d',
        pretrained: str | None = None,
        compile_blocks: bool = False,
        with_cp: bool = False,
        init_cfg: InitCfg = MAE_INIT,
        **vit: Any,
    ) -> None:
        size, patch = to_2tuple(img_size), to_2tuple(patch_size)
        if size[0] % patch[0] or size[1] % patch[1]:
            raise ConfigError(f'img_size={img_size} must be a multiple of patch_size={patch_size}')
        init_cfg, pretrained, prefix = pop_pretrained(init_cfg, pretrained, MAE_INIT)
        if not isinstance(out_indices, int):
            out_indices = list(out_indices)  # the host changes the list in place
        super().__init__(
            arch, img_size, patch_size, in_channels, out_indices, init_cfg=init_cfg, **vit
        )
        self.in_channels = in_channels
        self.pos_embed_type = pos_embed_type
        self.pretrained = pretrained
        self.pretrained_prefix = prefix
        self.patch_shape = (1, *patch)
        self.token_grid = (1, *self.patch_resolution)
        if use_learnable_pos_emb:
            self.pos_embed.data.copy_(self._fixed_table())
        else:
            del self.pos_embed
            self.register_buffer('pos_embed', self._fixed_table())
        self._check(patch)
        if with_cp:
            checkpoint_blocks(self)
        if compile_blocks:
            compile_in_place(self)

    def _check(self, patch: tuple[int, int]) -> None:
        conv = self.patch_embed.projection
        if (conv.kernel_size, conv.stride, conv.dilation) != (patch, patch, (1, 1)):
            raise ConfigError(
                f'patch_cfg must make patches that are tiles of {patch} pixels, got {conv}'
            )
        for number, layer in enumerate(self.layers, start=1):
            heads = layer.attn.num_heads
            if self.embed_dims % heads:
                raise ConfigError(
                    f'num_heads={heads} of block {number} does not divide '
                    f'embed_dims={self.embed_dims}'
                )

    def _fixed_table(self) -> Tensor:
        """(1, E + N, C); the class token has zeros."""
        table = position_table(self.token_grid, self.embed_dims, self.pos_embed_type)
        return F.pad(table, (0, 0, self.num_extra_tokens, 0))

    @torch.no_grad()
    def init_weights(self) -> None:
        """Initialise as MAE does, then load ``pretrained``."""
        super().init_weights()
        self.pos_embed.copy_(self._fixed_table())  # the host draws a learnable table
        conv = self.patch_embed.projection
        nn.init.xavier_uniform_(conv.weight.flatten(1))
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)
        self.load_pretrained()

    def train(self, mode: bool = True) -> 'ImageVisionTransformer':
        """Set the mode; the host's method does not return the module."""
        super().train(mode)
        return self

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks, under the video backbone's name."""
        return self.layers

    @property
    def norm(self) -> nn.Module:  # type: ignore[override]
        """The norm of every token after the last block."""
        return self.ln1 if self.final_norm else nn.Identity()

    def check_decodable(self) -> None:
        """Require normed tokens, as the decoder of a masked autoencoder reads them."""
        if not self.final_norm or self.out_type == 'avg_featmap':
            raise ConfigError(
                'a masked autoencoder reads normed tokens: set backbone.final_norm=True and an '
                "out_type other than 'avg_featmap'"
            )

    def embed(
        self, patches: Tensor, token_ids: Tensor | None = None, grid: Grid | None = None
    ) -> Tensor:
        """Embed the given tokens only; a convolution whose stride is its kernel is linear."""
        grid = grid or self.token_grid
        extra = self.num_extra_tokens
        table = resize_pos_embed(
            self.pos_embed, self.patch_resolution, grid[1:], self.interpolate_mode, extra
        )
        class_position, table = table[:, :extra], table[:, extra:]
        check_patch_embedding(patches, grid, table.shape[1])
        if token_ids is not None:
            patches = gather_tokens(patches, token_ids)  # (B, N, P) -> (B, K, P)
            table = table[0][token_ids]  # -> (B, K, C)
        conv = self.patch_embed.projection
        tokens = F.linear(patches, conv.weight.flatten(1), conv.bias)  # -> (B, K, C)
        if self.patch_embed.norm is not None:
            tokens = self.patch_embed.norm(tokens)
        tokens = tokens + table
        if self.cls_token is not None:
            first = (self.cls_token + class_position).expand(len(tokens), -1, -1)
            tokens = torch.cat([first, tokens], 1)  # -> (B, 1 + K, C)
        return self.pre_norm(self.drop_after_pos(tokens))

    def query_key_value(
        self,
        patches: Tensor,
        block: int,
        token_ids: Tensor | None = None,
        num_heads: int | None = None,
    ) -> Tensor:
        """Query, key and value of a block, TinyMIM section 3.

        Of the block only its first norm and its projection run.

        Args:
            patches: (B, N, P), all patches of the image.
            block: Counted from 1.
            token_ids: (B, K), int64, the tokens to encode; all by default.
            num_heads: Heads into which the projection is split; the block's own by default.

        Returns:
            (3, B, H, E + K, C / H).

        Raises:
            ConfigError: If there is no such block, or the heads do not divide the width.
        """
        check_layers([block], self.depth)
        layer = self.layers[block - 1]
        heads = num_heads or layer.attn.num_heads
        if self.embed_dims % heads:
            raise ConfigError(f'num_heads={heads} does not divide embed_dims={self.embed_dims}')
        tokens = self.embed(patches, token_ids)  # (B, N, P) -> (B, E + K, C)
        for before in self.layers[: block - 1]:
            tokens = before(tokens)
        qkv = layer.attn.qkv(layer.ln1(tokens))  # -> (B, E + K, 3 * C)
        return qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
