"""Transformer blocks: MMAction2's own, with fused attention."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import Attention, Block
from mmengine.model import ModuleList
from torch import Tensor, nn

DEFAULT_NORM = dict(type='LN', eps=1e-6)


class FusedAttention(Attention):
    """MMAction2's attention through ``scaled_dot_product_attention``.

    Same parameters, same result within rounding, but the N x N matrix of
    weights is never stored: memory grows with N instead of N * N.

    Args:
        embed_dims (int): Width of a token.
        num_heads (int): Attention heads.
        qkv_bias (bool): Learnable bias of query and value.
        key_bias (bool): A learnable bias of the key as well, all three in
            ``qkv.bias``, as MAE has it. It changes no result.
        qk_scale (float, optional): Scale of the attention logits.
        attn_drop_rate (float): Dropout of the attention weights.
        drop_rate (float): Dropout after the projection.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        key_bias: bool = False,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(
            embed_dims,
            num_heads=num_heads,
            qkv_bias=qkv_bias and not key_bias,
            qk_scale=qk_scale,
            attn_drop_rate=attn_drop_rate,
            drop_rate=drop_rate,
        )
        if key_bias:
            self.qkv = nn.Linear(embed_dims, 3 * embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Attend.

        Args:
            x (Tensor): (B, N, C).

        Returns:
            Tensor: (B, N, C).
        """
        batch, tokens, _ = x.shape
        bias: Tensor | None = self.qkv.bias
        if hasattr(self, 'q_bias'):
            bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias)
        qkv = qkv.reshape(batch, tokens, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(
            query,
            key,
            value,
            dropout_p=self.attn_drop.p if self.training else 0.0,
            scale=self.scale,
        )
        x = x.transpose(1, 2).reshape(batch, tokens, -1)
        return self.proj_drop(self.proj(x))


def build_blocks(
    depth: int,
    embed_dims: int,
    num_heads: int,
    mlp_ratio: float = 4.0,
    qkv_bias: bool = True,
    key_bias: bool = False,
    qk_scale: float | None = None,
    drop_rate: float = 0.0,
    attn_drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    init_values: float = 0.0,
    norm_cfg: dict = DEFAULT_NORM,
    fused_attention: bool = True,
) -> ModuleList:
    """A stack of MMAction2's ViT blocks.

    Args:
        depth (int): Number of blocks.
        embed_dims (int): Width of a token.
        num_heads (int): Attention heads; must divide the width.
        mlp_ratio (float): Width of the MLP over that of a token.
        qkv_bias (bool): Learnable bias of query and value.
        key_bias (bool): Of the key as well, see :class:`FusedAttention`.
        qk_scale (float, optional): Scale of the attention logits; one over the
            root of the head's width by default.
        drop_rate (float): Dropout after the projections.
        attn_drop_rate (float): Dropout of the attention weights.
        drop_path_rate (float): Stochastic depth of the last block; it grows
            linearly from 0 at the first.
        init_values (float): Layer scale at the start; 0 builds none.
        norm_cfg (dict): The norm layers.
        fused_attention (bool): Use :class:`FusedAttention`.

    Returns:
        ModuleList: The blocks, called one after the other.

    Raises:
        ValueError: If the heads do not divide the width, or ``key_bias`` is
            asked of MMAction2's own attention.
    """
    if key_bias and not fused_attention:
        raise ValueError(
            "key_bias=True needs fused_attention=True: MMAction2's attention has no bias of the key"
        )
    if embed_dims % num_heads:
        raise ValueError(f'num_heads={num_heads} does not divide embed_dims={embed_dims}')
    attention: dict[str, Any] = dict(
        num_heads=num_heads,
        qkv_bias=qkv_bias,
        qk_scale=qk_scale,
        attn_drop_rate=attn_drop_rate,
        drop_rate=drop_rate,
    )
    blocks = ModuleList()
    for drop_path in np.linspace(0, drop_path_rate, depth).tolist():
        block = Block(
            embed_dims,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path,
            # MMAction2 builds no layer scale from an int, silently.
            init_values=float(init_values),
            norm_cfg=norm_cfg,
            **attention,
        )
        if fused_attention:
            block.attn = FusedAttention(embed_dims, key_bias=key_bias, **attention)
        blocks.append(block)
    return blocks
