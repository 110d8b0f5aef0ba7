from collections.abc import Sequence

import torch
import torch.nn.functional as F
from amd_mm.registry import MODELS
from mmengine.utils import to_2tuple
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from .. import utils
from ..utils import Grid, gather_tokens, patchify, position_table
from .encoder import InitCfg, TokenEncoder, check_layers, take_out_pretrained

# The start of MAE: its patch embedding and class token are set apart, see
# ImageVisionTransformer.init_weights.
MAE_INIT = [
    dict(type='Xavier', layer='Linear', distribution='uniform', bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
]


@MODELS.register_module()
class ImageVisionTransformer(TokenEncoder, VisionTransformer):
    """MMPretrain's ViT, which can also look at some of an image's tokens.

    Parameters, names and config arguments are those of
    ``mmpretrain.VisionTransformer``, whose :meth:`forward` it keeps, and
    checkpoints go both ways. On top of it:

    - :meth:`encode`: token subsets, *layers* (the residual stream after given
      blocks, counted from 1) and stopping after the last layer;
    - :meth:`query_key_value` of a block, without running the rest of it;
    - MAE's fixed sin-cos position table (MMPretrain's ``MAEViT`` has the rows'
      and the columns' channels swapped);
    - ``eval()`` and ``train()`` return the module, as PyTorch's do.

    An image is a clip of one frame: grids are (1, rows, columns).

    Args:
        arch (str | dict): ``deit-tiny``, ``deit-small``, ``base``, ``large``
            and others of MMPretrain's (whose ``small`` is not ViT-S), or a
            dict of ``embed_dims``, ``num_layers``, ``num_heads`` and
            ``feedforward_channels``.
        img_size (int | Tuple[int, int]): Height and width, pixels.
        patch_size (int | Tuple[int, int]): Height and width of a patch.
        in_channels (int): Channels of the image.
        out_indices (Sequence[int] | int): Blocks, from 0, whose output
            :meth:`forward` returns.
        drop_rate (float): Dropout after embedding and projections.
        drop_path_rate (float): Stochastic depth at the last block.
        qkv_bias (bool): Learnable bias of query, key and value.
        norm_cfg (dict): The norm layers.
        final_norm (bool): Norm of every token after the last block.
        out_type (str): What :meth:`forward` returns: ``cls_token``,
            ``featmap``, ``avg_featmap`` (which adds a norm of the mean) or
            ``raw``.
        with_cls_token (bool): Put a class token before the patches.
        frozen_stages (int): Blocks to freeze, from the first; -1 freezes
            nothing.
        interpolate_mode (str): How the position table is resampled for images
            of another size.
        layer_scale_init_value (float): Layer scale at the start; 0 builds
            none.
        patch_cfg (dict): Further arguments of the patch embedding.
        layer_cfgs (Sequence[dict] | dict): Further arguments of the blocks,
            for each or for all.
        pre_norm (bool): Norm of every token before the first block.
        init_cfg (dict | List[dict], optional): Initialisation; MAE's by
            default.
        use_learnable_pos_emb (bool): Learn the position table, which starts
            as the fixed one (fine-tuning), instead of keeping it fixed
            (pre-training).
        pos_embed_type (str): The table, see :func:`position_table`.
        pretrained (str, optional): A checkpoint of any known format, read by
            the strict loader at the end of :meth:`init_weights`: it reports
            what it took, and an encoder weight that is missing is an error.
            ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=...)``
            means the same.
        compile_blocks (bool): ``torch.compile`` each block in place, see
            :func:`amd_mm.models.utils.compile_blocks`.

    Raises:
        ValueError: If the image is no multiple of the patch, the heads do not
            divide the width, or ``patch_cfg`` makes patches that overlap.
    """

    # Parameters after the last block, which a teacher does without.
    closing_norms = ('ln1', 'ln2')
    input_dims = 4
    # Programs differ in it, so checkpoints replace even the fixed one.
    takes_position_table = True

    def __init__(
        self,
        arch: str | dict = 'base',
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_channels: int = 3,
        out_indices: Sequence[int] | int = -1,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        qkv_bias: bool = True,
        norm_cfg: dict = dict(type='LN', eps=1e-6),
        final_norm: bool = True,
        out_type: str = 'cls_token',
        with_cls_token: bool = True,
        frozen_stages: int = -1,
        interpolate_mode: str = 'bicubic',
        layer_scale_init_value: float = 0.0,
        patch_cfg: dict = dict(),
        layer_cfgs: Sequence[dict] | dict = dict(),
        pre_norm: bool = False,
        init_cfg: InitCfg = MAE_INIT,
        use_learnable_pos_emb: bool = False,
        pos_embed_type: str = 'sincos_2d',
        pretrained: str | None = None,
        compile_blocks: bool = False,
    ) -> None:
        size, patch = to_2tuple(img_size), to_2tuple(patch_size)
        if size[0] % patch[0] or size[1] % patch[1]:
            raise ValueError(f'img_size={img_size} must be a multiple of patch_size={patch_size}')
        init_cfg, pretrained, prefix = take_out_pretrained(init_cfg, pretrained, MAE_INIT)
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            in_channels=in_channels,
            # The parent counts negative numbers in place.
            out_indices=out_indices if isinstance(out_indices, int) else list(out_indices),
            drop_rate=drop_rate,
            drop_path_rate=drop_path_rate,
            qkv_bias=qkv_bias,
            norm_cfg=norm_cfg,
            final_norm=final_norm,
            out_type=out_type,
            with_cls_token=with_cls_token,
            frozen_stages=frozen_stages,
            interpolate_mode=interpolate_mode,
            layer_scale_init_value=layer_scale_init_value,
            patch_cfg=patch_cfg,
            layer_cfgs=layer_cfgs,
            pre_norm=pre_norm,
            init_cfg=init_cfg,
        )
        self._check_patches(patch)
        self._check_heads()
        self.in_channels = in_channels
        self.pos_embed_type = pos_embed_type
        self.pretrained = pretrained
        self._pretrained_prefix = prefix
        self.patch_shape = (1, *patch)
        self.token_grid: Grid = (1, *self.patch_resolution)
        self._build_position_table(use_learnable_pos_emb)
        if compile_blocks:
            utils.compile_blocks(self)

    def _check_patches(self, patch: tuple[int, int]) -> None:
        conv = self.patch_embed.projection
        if (
            not isinstance(conv, nn.Conv2d)
            or conv.kernel_size != patch
            or conv.stride != patch
            or conv.dilation != (1, 1)
        ):
            raise ValueError(
                f'patch_cfg makes patches that are no tiles of {patch} '
                f'pixels ({conv}): tokens could not be embedded one by one'
            )

    def _check_heads(self) -> None:
        for number, layer in enumerate(self.layers, start=1):
            heads = layer.attn.num_heads
            if self.embed_dims % heads:
                raise ValueError(
                    f'num_heads={heads} of block {number} does '
                    f'not divide embed_dims={self.embed_dims}'
                )

    def _build_position_table(self, learnable: bool) -> None:
        table = self._fixed_table()
        if learnable:
            self.pos_embed.data.copy_(table)
        else:
            del self.pos_embed
            self.register_buffer('pos_embed', table)

    def _fixed_table(self) -> Tensor:
        """(1, E + N, C); class tokens have no position: zeros."""
        table = position_table(self.token_grid, self.embed_dims, self.pos_embed_type)
        return F.pad(table, (0, 0, self.num_extra_tokens, 0))

    def init_weights(self) -> None:
        """Initialise as MAE does, then load ``pretrained``, strictly."""
        super().init_weights()
        self._init_embedding()
        if self.pretrained:
            from amd_mm.checkpoints import load_encoder

            # Fine-tuning starts the norm of the mean afresh.
            load_encoder(
                self, self.pretrained, allow_missing=('ln2',), prefix=self._pretrained_prefix
            )

    @torch.no_grad()
    def _init_embedding(self) -> None:
        # The parent has just made noise of a learnable table.
        self.pos_embed.copy_(self._fixed_table())
        conv = self.patch_embed.projection
        nn.init.xavier_uniform_(conv.weight.flatten(1))
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)

    def train(self, mode: bool = True) -> 'ImageVisionTransformer':
        """As PyTorch's: MMPretrain's returns nothing."""
        super().train(mode)
        return self

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks, by the name that the video backbone has for them."""
        return self.layers

    @property
    def norm(self) -> nn.Module:
        """The norm of every token after the last block."""
        return self.ln1 if self.final_norm else nn.Identity()

    @property
    def patch_dims(self) -> int:
        """Values of a patch."""
        return self.patch_embed.projection.weight[0].numel()

    def check_decodable(self) -> None:
        """Raise a ValueError unless a decoder can read the tokens."""
        if not self.final_norm or self.out_type == 'avg_featmap':
            raise ValueError(
                'a masked autoencoder reads normed tokens and pools none: set '
                'backbone.final_norm=True and an out_type other than '
                "'avg_featmap'"
            )

    def grid_of(self, image: Tensor) -> Grid:
        """Tokens (1, rows, columns) of a (B, C, H, W) image."""
        _, rows, cols = self.patch_shape
        return 1, image.shape[2] // rows, image.shape[3] // cols

    def patchify(self, image: Tensor) -> Tensor:
        """Cut an image into patches, which are not embedded yet.

        Args:
            image (Tensor): (B, C, H, W), normalised.

        Returns:
            Tensor: (B, N, P), P values of every patch, channel first.

        Raises:
            ValueError: If the image is no whole number of patches, or has
                other channels than the patch embedding.
        """
        if image.ndim != 4:
            raise ValueError(f'images are (B, C, H, W), got a tensor of shape {tuple(image.shape)}')
        if image.shape[1] != self.in_channels:
            raise ValueError(
                f'the image has {image.shape[1]} channels, the backbone was '
                f'built with in_channels={self.in_channels}'
            )
        (height, width), (_, rows, cols) = image.shape[2:], self.patch_shape
        if height % rows or width % cols:
            raise ValueError(
                f'an image of {height}x{width} cannot be cut into patches of '
                f'{rows}x{cols}: change the size in the pipeline, or the '
                'patch_size of the backbone'
            )
        return patchify(image.unsqueeze(2), self.patch_shape)

    def embed(
        self, patches: Tensor, token_ids: Tensor | None = None, grid: Grid | None = None
    ) -> Tensor:
        """Embed patches, add their positions, put the class token in front.

        A convolution whose stride is its kernel is a linear layer, so only the
        tokens asked for are embedded.

        Args:
            patches (Tensor): (B, N, P), all patches of the image.
            token_ids (Tensor, optional): (B, K), int64, the patches to embed;
                all of them by default.
            grid (Grid, optional): The image's tokens (1, rows, columns) if it
                is not of the configured size.

        Returns:
            Tensor: (B, E + K, C): E = 1 with a class token, else 0.

        Raises:
            ValueError: If the patches do not fill the grid.
        """
        grid = grid or self.token_grid
        extra = self.num_extra_tokens
        table = resize_pos_embed(
            self.pos_embed, self.patch_resolution, grid[1:], self.interpolate_mode, extra
        )
        places = table[:, extra:]
        if patches.shape[1] != places.shape[1]:
            raise ValueError(
                f'{patches.shape[1]} patches do not make the '
                f'grid {grid} of {places.shape[1]} tokens'
            )
        if token_ids is not None:
            patches = gather_tokens(patches, token_ids)
            places = places[0][token_ids]
        conv = self.patch_embed.projection
        tokens = F.linear(patches, conv.weight.flatten(1), conv.bias)
        if self.patch_embed.norm is not None:
            tokens = self.patch_embed.norm(tokens)
        tokens = tokens + places
        if self.cls_token is None:
            return tokens
        first = self.cls_token + table[:, :extra]
        return torch.cat([first.expand(len(tokens), -1, -1), tokens], 1)

    def enter(self, patches: Tensor, token_ids: Tensor | None, grid: Grid | None) -> Tensor:
        """See :meth:`TokenEncoder.enter`."""
        tokens = self.embed(patches, token_ids, grid)
        return self.pre_norm(self.drop_after_pos(tokens))

    def query_key_value(
        self,
        patches: Tensor,
        block: int,
        token_ids: Tensor | None = None,
        num_heads: int | None = None,
        layers: Sequence[int] = (),
        grid: Grid | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Query, key and value of a block, TinyMIM section 3.

        The blocks before it run; of the block itself only its first norm and
        its projection to query, key and value do.

        Args:
            patches (Tensor): (B, N, P), all patches of the image.
            block (int): The block, counted from 1.
            token_ids (Tensor, optional): (B, K), int64, the patches to look
                at; all by default.
            num_heads (int, optional): Read the projection as so many heads;
                as the block's own by default.
            layers (Sequence[int]): Blocks before ``block`` whose residual
                stream is returned too, see :meth:`encode`.
            grid (Grid, optional): See :meth:`embed`.

        Returns:
            Tuple[Tensor, List[Tensor]]: (3, B, H, E + K, C / H), which unpacks
            into query, key and value; and the layers, (B, E + K, C) each.

        Raises:
            ValueError: If ``block`` is not one of the blocks, a layer does not
                come before it, or the heads do not divide the width.
        """
        check_layers([block], self.depth)
        check_layers(layers, block - 1)
        layer = self.layers[block - 1]
        heads = num_heads or layer.attn.num_heads
        if self.embed_dims % heads:
            raise ValueError(f'num_heads={heads} does not divide embed_dims={self.embed_dims}')
        tokens, kept = self._run(patches, token_ids, grid, block - 1, layers)
        qkv = layer.attn.qkv(layer.ln1(tokens))
        qkv = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        return qkv, kept
