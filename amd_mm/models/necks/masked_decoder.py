import torch
import torch.nn.functional as F
from amd_mm.registry import MODELS
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..utils import DEFAULT_NORM, Grid, build_blocks, position_table

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
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dims = embed_dims
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        table = position_table(grid, embed_dims, pos_embed_type)
        self.register_buffer('pos_embed', table, persistent=False)
        self.blocks = build_blocks(
            depth, embed_dims, num_heads, key_bias=key_bias, fused_attention=fused_attention
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
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(
            embed_dims, depth, num_heads, grid, key_bias, pos_embed_type, fused_attention, init_cfg
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
