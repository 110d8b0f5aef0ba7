"""Mixin of the video and the image backbone: encode a subset of the tokens."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amd_mm.errors import ConfigError
from amd_mm.registry import type_name
from torch import Tensor, nn

from ..utils import Grid, patchify

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
        raise NotImplementedError

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
        kept = []
        for number, block in enumerate(self.blocks[:last], start=1):
            tokens = block(tokens)
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
