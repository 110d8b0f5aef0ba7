import torch
import torch.nn.functional as F
from amd_mm.registry import MODELS
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..utils import Grid, build_blocks, position_table
from ..utils.blocks import DEFAULT_NORM

# The start of the public masked autoencoders.
XAVIER_INIT = [
    dict(type='Xavier', layer='Linear', distribution='uniform', bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
]

InitCfg = dict | list[dict] | None


class MaskTokenBlocks(BaseModule):
    """Transformer blocks that fill in tokens: decoder and generator.

    Both in one: the decoder of a masked autoencoder (MAE and VideoMAE, section
    3 of both) and AMD's generator of features (section 3.3, supplement B).
    Seen tokens and copies of one learned mask token at the places to fill in,
    each with its fixed position, go through the blocks; what comes out at
    those places is returned.

    Args:
        embed_dims (int): Width of a token.
        depth (int): Number of blocks.
        num_heads (int): Attention heads.
        grid (Grid): The clip's tokens along (time, height, width).
        mlp_ratio (float): Width of the MLP over that of a token.
        qkv_bias (bool): Learnable bias of query and value.
        key_bias (bool): Of the key as well, as in MAE.
        norm_cfg (dict): The norm layers.
        pos_embed_type (str): See :func:`position_table`.
        fused_attention (bool): Fused attention.
        init_cfg (dict | List[dict], optional): Initialisation.
    """

    def __init__(
        self,
        embed_dims: int,
        depth: int,
        num_heads: int,
        grid: Grid,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        key_bias: bool = False,
        norm_cfg: dict = DEFAULT_NORM,
        pos_embed_type: str = 'sincos_1d',
        fused_attention: bool = True,
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dims = embed_dims
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        # Fixed, so neither saved nor loaded.
        self.register_buffer(
            'pos_embed', position_table(grid, embed_dims, pos_embed_type), persistent=False
        )
        self.blocks = build_blocks(
            depth,
            embed_dims,
            num_heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            key_bias=key_bias,
            norm_cfg=norm_cfg,
            fused_attention=fused_attention,
        )

    def init_weights(self) -> None:
        """Initialise; the mask token from a normal of deviation 0.02."""
        super().init_weights()
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def fill_in(self, tokens: Tensor, seen: Tensor, wanted: Tensor) -> Tensor:
        """Predict some tokens from others.

        Args:
            tokens (Tensor): (B, E + Ks, C), what is known, without positions;
                E class tokens, which have no position, come first.
            seen (Tensor): (B, Ks), int64, where the others are.
            wanted (Tensor): (B, Kw), int64, where to predict.

        Returns:
            Tensor: (B, Kw, C), after the last block.
        """
        table = self.pos_embed[0]
        class_tokens = tokens.shape[1] - seen.shape[1]
        known = tokens + F.pad(table[seen], (0, 0, class_tokens, 0))
        asked = self.mask_token.to(known.dtype) + table[wanted]
        stream = torch.cat([known, asked], 1)
        for block in self.blocks:
            stream = block(stream)
        return stream[:, tokens.shape[1] :]


@MODELS.register_module()
class PixelDecoder(MaskTokenBlocks):
    """The light decoder of a masked autoencoder, VideoMAE section 3.

    A linear layer brings the encoder's tokens to the decoder's width; norm
    and prediction run on the tokens to reconstruct only.

    Args:
        embed_dims (int): Width of the decoder.
        depth (int): Number of blocks.
        num_heads (int): Attention heads.
        in_dims (int): Width of the encoder; the algorithm fills it in.
        patch_dims (int): Values of a patch; the algorithm fills it in.
        grid (Grid): The clip's tokens along (time, height, width); the
            algorithm fills it in.
        mlp_ratio (float): Width of the MLP over that of a token.
        qkv_bias (bool): Learnable bias of query and value.
        key_bias (bool): Of the key as well, as in MAE.
        norm_cfg (dict): The norm layers.
        pos_embed_type (str): The algorithm fills in the backbone's.
        fused_attention (bool): Fused attention.
        embed_bias (bool): Bias of the first linear layer, as in MAE.
        init_cfg (dict | List[dict], optional): Initialisation; Xavier uniform
            as in the public programs by default.
    """

    def __init__(
        self,
        embed_dims: int,
        depth: int,
        num_heads: int,
        in_dims: int,
        patch_dims: int,
        grid: Grid,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        key_bias: bool = False,
        norm_cfg: dict = DEFAULT_NORM,
        pos_embed_type: str = 'sincos_1d',
        fused_attention: bool = True,
        embed_bias: bool = False,
        init_cfg: InitCfg = XAVIER_INIT,
    ) -> None:
        super().__init__(
            embed_dims,
            depth,
            num_heads,
            grid,
            mlp_ratio,
            qkv_bias,
            key_bias,
            norm_cfg,
            pos_embed_type,
            fused_attention,
            init_cfg,
        )
        self.embed = nn.Linear(in_dims, embed_dims, bias=embed_bias)
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1]
        self.head = nn.Linear(embed_dims, patch_dims)

    def forward(self, tokens: Tensor, seen: Tensor, wanted: Tensor) -> Tensor:
        """Predict the pixels of some patches.

        Args:
            tokens (Tensor): (B, E + Ks, in_dims), from the encoder, E class
                tokens first.
            seen (Tensor): (B, Ks), int64, where the others are.
            wanted (Tensor): (B, Kw), int64, the patches to predict.

        Returns:
            Tensor: (B, Kw, patch_dims).
        """
        wanted_tokens = self.fill_in(self.embed(tokens), seen, wanted)
        return self.head(self.norm(wanted_tokens))
