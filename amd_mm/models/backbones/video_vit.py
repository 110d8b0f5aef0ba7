import torch.nn.functional as F
from amd_mm.registry import MODELS
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from .. import utils
from ..utils import (
    Grid,
    build_blocks,
    gather_tokens,
    patchify,
    position_table,
    resize_position_table,
)
from ..utils.blocks import DEFAULT_NORM
from .encoder import InitCfg, TokenEncoder, take_out_pretrained

# MMAction2's own start, spelled out because its default is not a name.
DEFAULT_INIT = [
    dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
]


@MODELS.register_module()
class VideoVisionTransformer(TokenEncoder, VisionTransformer):
    """MMAction2's ViT, which can also look at some of a clip's tokens.

    Parameters, names and config arguments are those of
    ``mmaction.VisionTransformer`` and checkpoints go both ways. On top of it:

    - fused attention (``scaled_dot_product_attention``);
    - :meth:`encode`: token subsets, *layers* (the residual stream after given
      blocks, counted from 1) and stopping after the last layer;
    - position tables for any (T, H, W), resampled in space and in time when
      the clip at hand is of another size than the one configured;
    - unknown arguments are an error.

    With ``use_mean_pooling=False`` it has the final ``norm`` of a
    masked autoencoder; with True the ``fc_norm`` of a recogniser.

    Args:
        img_size (int | Tuple[int, int]): Height and width of a frame, pixels.
        patch_size (int): Side of a patch, pixels.
        in_channels (int): Channels of the clip.
        embed_dims (int): Width of a token.
        depth (int): Number of blocks.
        num_heads (int): Attention heads.
        mlp_ratio (float): Width of the MLP over that of a token.
        qkv_bias (bool): Learnable bias of query and value.
        qk_scale (float, optional): Scale of the attention logits.
        drop_rate (float): Dropout after embedding and projections.
        attn_drop_rate (float): Dropout of the attention weights.
        drop_path_rate (float): Stochastic depth at the last block.
        norm_cfg (dict): The norm layers.
        init_values (float): Layer scale at the start; 0 builds none.
        use_learnable_pos_emb (bool): Learn the position table.
        num_frames (int): Frames of a clip.
        tubelet_size (int): Frames of a patch.
        use_mean_pooling (bool): ``fc_norm`` after the mean over the tokens
            (True), or ``norm`` on every token (False).
        pretrained (str, optional): A checkpoint of any known format, read by
            the strict loader at the end of :meth:`init_weights`: it reports
            what it took, and an encoder weight that is missing is an error.
            ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)``
            means the same.
        return_feat_map (bool): Let :meth:`forward` return (B, C, T', H', W').
        init_cfg (dict | List[dict], optional): Initialisation.
        pos_embed_type (str): ``sincos_1d`` (published) or ``sincos_3d``
            (separable), see :func:`position_table`.
        fused_attention (bool): Fused attention; False is MMAction2's own.
        compile_blocks (bool): ``torch.compile`` each block in place, see
            :func:`amd_mm.models.utils.compile_blocks`.

    Raises:
        ValueError: If sizes are no multiple of the patch, or the heads do not
            divide the width.
        TypeError: For an unknown argument.
    """

    # Parameters after the last block, which a teacher does without.
    closing_norms = ('norm', 'fc_norm')
    input_dims = 5
    num_extra_tokens = 0  # no class token
    pos_embed: Tensor  # (1, N, C): a parameter, or a buffer
    norm: nn.Module
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
        if height % patch_size or width % patch_size or (num_frames % tubelet_size):
            raise ValueError(
                f'img_size={img_size} must be a multiple of patch_size='
                f'{patch_size} and num_frames={num_frames} of tubelet_size='
                f'{tubelet_size}'
            )
        init_cfg, pretrained, prefix = take_out_pretrained(init_cfg, pretrained, DEFAULT_INIT)
        # The parent builds patch embedding, dropout and final norm; its blocks
        # (depth=0) and its table (square frames only) are replaced below.
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
        self.tubelet_size = tubelet_size
        self.in_channels = in_channels
        self.num_heads = num_heads
        self.pos_embed_type = pos_embed_type
        self.pretrained = pretrained
        self._pretrained_prefix = prefix
        self.token_grid: Grid = (
            num_frames // tubelet_size,
            height // patch_size,
            width // patch_size,
        )
        self.grid_size = self.token_grid[1:]
        self._build_position_table(use_learnable_pos_emb)
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
            utils.compile_blocks(self)

    def _build_position_table(self, learnable: bool) -> None:
        table = position_table(self.token_grid, self.embed_dims, self.pos_embed_type)
        del self.pos_embed
        if learnable:
            self.pos_embed = nn.Parameter(table.new_zeros(table.shape))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        else:
            self.register_buffer('pos_embed', table)

    def init_weights(self) -> None:
        """Initialise, then load ``pretrained`` through the strict loader."""
        super().init_weights()
        if self.pretrained:
            from amd_mm.checkpoints import load_encoder

            # Fine-tuning starts fc_norm afresh: pre-training has none.
            load_encoder(
                self, self.pretrained, allow_missing=('fc_norm',), prefix=self._pretrained_prefix
            )

    @property
    def patch_shape(self) -> tuple[int, int, int]:
        """Frames, rows and columns of a patch."""
        return self.tubelet_size, self.patch_size, self.patch_size

    @property
    def patch_dims(self) -> int:
        """Values of a patch."""
        return self.patch_embed.projection.weight[0].numel()

    def check_decodable(self) -> None:
        """Raise a ValueError unless a decoder can read the tokens."""
        if self.fc_norm is not None:
            raise ValueError(
                'a masked autoencoder reads normed tokens: set backbone.use_mean_pooling=False'
            )

    def grid_of(self, clip: Tensor) -> Grid:
        """Tokens along (time, height, width) of a (B, C, T, H, W) clip."""
        time, height, width = (s // p for s, p in zip(clip.shape[2:], self.patch_shape))
        return time, height, width

    def patchify(self, clip: Tensor) -> Tensor:
        """Cut a clip into patches, which are not embedded yet.

        Args:
            clip (Tensor): (B, C, T, H, W), normalised.

        Returns:
            Tensor: (B, N, P), P values of every patch, channel first.

        Raises:
            ValueError: If the clip is no whole number of patches, or has other
                channels than the patch embedding.
        """
        if clip.ndim == 5 and clip.shape[1] != self.in_channels:
            raise ValueError(
                f'the clip has {clip.shape[1]} channels, the backbone was '
                f'built with in_channels={self.in_channels}'
            )
        return patchify(clip, self.patch_shape)

    def embed(
        self, patches: Tensor, token_ids: Tensor | None = None, grid: Grid | None = None
    ) -> Tensor:
        """Embed patches and add their positions.

        A convolution whose stride is its kernel is a linear layer, so only the
        tokens asked for are embedded.

        Args:
            patches (Tensor): (B, N, P), all patches of the clip.
            token_ids (Tensor, optional): (B, K), int64, the tokens to embed;
                all of them by default.
            grid (Grid, optional): The clip's tokens along (time, height,
                width) if it is not of the configured size.

        Returns:
            Tensor: (B, K, C).

        Raises:
            ValueError: If the patches do not fill the grid.
        """
        table = self.pos_embed
        if grid is not None:
            table = resize_position_table(table, self.token_grid, grid)
        if patches.shape[1] != table.shape[1]:
            raise ValueError(
                f'{patches.shape[1]} patches do not make the grid '
                f'{grid or self.token_grid} of {table.shape[1]} tokens'
            )
        if token_ids is not None:
            patches = gather_tokens(patches, token_ids)
            table = table[0][token_ids]
        conv = self.patch_embed.projection
        return F.linear(patches, conv.weight.flatten(1), conv.bias) + table

    def enter(self, patches: Tensor, token_ids: Tensor | None, grid: Grid | None) -> Tensor:
        """See :meth:`TokenEncoder.enter`."""
        return self.pos_drop(self.embed(patches, token_ids, grid))

    def forward(self, x: Tensor) -> Tensor:
        """Features of a clip, as MMAction2's backbone returns them.

        Args:
            x (Tensor): (B, C, T, H, W), normalised.

        Returns:
            Tensor: (B, C); with ``return_feat_map`` (B, C, T', H', W').
        """
        grid = self.grid_of(x)
        tokens = self.encode(self.patchify(x), grid=grid).tokens
        assert tokens is not None  # not stopped after a layer
        if self.return_feat_map:
            return tokens.transpose(1, 2).reshape(-1, self.embed_dims, *grid)
        if self.fc_norm is not None:
            return self.fc_norm(tokens.mean(1))
        return tokens[:, 0]
