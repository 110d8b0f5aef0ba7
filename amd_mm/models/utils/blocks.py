"""MMAction2's ViT blocks with fused attention, and compilation of blocks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import Attention, Block
from mmcv.cnn.bricks.drop import DropPath
from mmengine.model import ModuleList
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .position import rotate

DEFAULT_NORM = dict(type='LN', eps=1e-6)

# Graphs of one block's code: one for each shape, with and without gradient, and for each rate of
# drop path. The default limit is 8.
_MAX_GRAPHS = 64


class FusedAttention(Attention):
    """MMAction2's attention through ``scaled_dot_product_attention``.

    It has the same parameters and gives the same result within rounding, but its memory grows with
    N instead of N * N.

    Args:
        key_bias: One learnable ``qkv.bias`` as in MAE, instead of biases of query and value alone.
            The results do not depend on the key's bias, unless positions are rotary.
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

    def forward(self, x: Tensor, *rotation: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C); ``rotation`` are cosines and sines for :func:`rotate`."""
        bias: Tensor | None = self.qkv.bias
        if hasattr(self, 'q_bias'):
            bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias)
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1))  # -> (B, N, 3, H, d)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # -> (B, H, N, d) each
        if rotation:
            query, key = rotate(query, *rotation), rotate(key, *rotation)
        dropout = self.attn_drop.p if self.training else 0.0
        x = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=self.scale)
        return self.proj_drop(self.proj(x.transpose(1, 2).flatten(2)))


class RotaryBlock(Block):
    """MMAction2's ViT block that passes a rotation to its attention; it has no layer scale."""

    def forward(self, x: Tensor, *rotation: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C), see :class:`FusedAttention`."""
        x = x + self.drop_path(self.attn(self.norm1(x), *rotation))
        return x + self.drop_path(self.mlp(self.norm2(x)))


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
    rotary: bool = False,
) -> ModuleList:
    """A stack of MMAction2's ViT blocks, with fused attention unless ``fused_attention=False``.

    The rate of drop path grows linearly from 0 at the first block to ``drop_path_rate`` at the
    last. ``key_bias`` is that of :class:`FusedAttention`. ``rotary`` blocks take a rotation.

    Raises:
        ValueError: If the heads do not divide the width.
    """
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
        block = (RotaryBlock if rotary else Block)(
            embed_dims,
            mlp_ratio=mlp_ratio,
            drop_path_rate=drop_path,
            init_values=float(init_values),  # MMAction2 ignores an int
            norm_cfg=norm_cfg,
            **attention,
        )
        if fused_attention:
            block.attn = FusedAttention(embed_dims, key_bias=key_bias, **attention)
        blocks.append(block)
    return blocks


def compile_blocks(*modules: nn.Module) -> None:
    """Apply ``torch.compile`` in place to every transformer block of some modules.

    Blocks of one shape share a graph, so the number of graphs does not grow with the depth. Names
    in ``state_dict`` do not change, unlike with MMEngine's ``compile`` option. The first call of a
    block compiles it, which needs a C++ compiler on a CPU and Triton on a GPU.

    Raises:
        RuntimeError: If this torch cannot compile a module in place.
    """
    if not hasattr(nn.Module, 'compile'):
        raise RuntimeError(
            'compile_blocks=True needs torch 2.2 or later; set it to False or update torch'
        )
    from torch._dynamo import config as limits  # this import takes seconds

    limits.cache_size_limit = max(limits.cache_size_limit, _MAX_GRAPHS)
    for module in modules:
        for block in module.modules():
            if isinstance(block, (Block, TransformerEncoderLayer)):
                for part in block.modules():
                    if isinstance(part, DropPath):
                        part.drop_prob = float(part.drop_prob)  # NumPy numbers break graphs
                block.compile(dynamic=False)


def checkpoint_blocks(*modules: nn.Module) -> None:
    """Let every transformer block of some modules keep only its input for the backward pass.

    The block runs again in the backward pass, with the same random numbers: the gradients are the
    same, memory is smaller, and a step takes about a third longer. (MMEngine's
    ``activation_checkpointing`` leaves out ``use_reentrant``, which PyTorch requires.)
    """
    for module in modules:
        for block in module.modules():
            if isinstance(block, (Block, TransformerEncoderLayer)):
                block.forward = partial(_checkpointed, block.forward)


def _checkpointed(forward: Callable, *inputs: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return checkpoint(forward, *inputs, use_reentrant=False)
    return forward(*inputs)
