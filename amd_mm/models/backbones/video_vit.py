from typing import Any

import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmengine.logging import print_log
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from ..utils import (
    DEFAULT_NORM,
    Grid,
    build_blocks,
    gather_tokens,
    position_table,
    resize_position_table,
)
from ..utils import compile_blocks as compile_in_place
from .vit import InitCfg, TokenSubsetMixin, check_patch_embedding, pop_pretrained

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
        pos_embed_type: See :func:`amd_mm.models.utils.position_table`.
        fused_attention: False uses MMAction2's own attention.
        compile_blocks: ``torch.compile`` each block in place.

    Raises:
        ConfigError: If a size is not a multiple of the patch, or the heads do not divide the width.
    """

    input_dims = 5
    num_extra_tokens = 0  # no class token
    closing_norms = ('norm', 'fc_norm')
    pooled_norm = 'fc_norm'
    pos_embed: Tensor  # (1, N, C): a parameter or a buffer
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
        self.pos_embed_type = pos_embed_type
        self.pretrained = pretrained
        self.pretrained_prefix = prefix
        self.patch_shape = (tubelet_size, patch_size, patch_size)
        self.token_grid = (num_frames // tubelet_size, height // patch_size, width // patch_size)
        self.grid_size = self.token_grid[1:]
        del self.pos_embed
        table = position_table(self.token_grid, embed_dims, pos_embed_type)
        if use_learnable_pos_emb:
            self.pos_embed = nn.Parameter(table.new_zeros(table.shape))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        else:
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
        )
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
        table = self.pos_embed
        if grid is not None:
            table = resize_position_table(table, self.token_grid, grid)
        check_patch_embedding(patches, grid or self.token_grid, table.shape[1])
        if token_ids is not None:
            patches = gather_tokens(patches, token_ids)  # (B, N, P) -> (B, K, P)
            table = table[0][token_ids]  # -> (B, K, C)
        conv = self.patch_embed.projection
        return self.pos_drop(F.linear(patches, conv.weight.flatten(1), conv.bias) + table)

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
