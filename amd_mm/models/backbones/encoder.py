"""What the video and the image backbone have in common."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..utils import Grid

InitCfg = dict | list[dict] | None


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder returns.

    Attributes:
        tokens (Tensor, optional): (B, E + K, C), after the final norm, the E
            class tokens first (0 for video); None if the encoder stopped after
            its last layer.
        layers (List[Tensor]): (B, E + K, C) each: the residual stream after the
            blocks asked for, before any final norm.
    """

    tokens: Tensor | None
    layers: list[Tensor]


def check_layers(layers: Sequence[int], depth: int) -> None:
    """Check that layers are blocks of an encoder, in rising order.

    Args:
        layers (Sequence[int]): Block numbers, counted from 1; there may be none.
        depth (int): Blocks of the encoder.

    Raises:
        ValueError: If one is not a block, or they do not rise.
    """
    rising = all(a < b for a, b in itertools.pairwise(layers))
    if not rising or any(not 1 <= layer <= depth for layer in layers):
        raise ValueError(f'layers are rising block numbers from 1 to {depth}, got {list(layers)}')


class TokenEncoder:
    """Running a ViT's blocks on chosen tokens, with layers, and stopping early.

    To stand before a ViT of a host codebase among the base classes. What uses
    it has ``blocks``, ``norm``, ``patchify`` and ``embed``.
    """

    blocks: Any  # nn.ModuleList
    norm: Any  # nn.Module, after the last block

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def enter(self, patches: Tensor, token_ids: Tensor | None, grid: Grid | None) -> Tensor:
        """The tokens as the first block takes them.

        Args:
            patches (Tensor): (B, N, P), all patches.
            token_ids (Tensor, optional): (B, K), int64; see :meth:`encode`.
            grid (Grid, optional): See :meth:`encode`.

        Returns:
            Tensor: (B, E + K, C).
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
        """Run the blocks on the class token, if any, and on some patches.

        Args:
            patches (Tensor): (B, N, P), all patches of the clip or image.
            token_ids (Tensor, optional): (B, K), int64, the patches to look
                at, in the order in which they are returned; all by default.
            layers (Sequence[int]): Blocks, counted from 1, after which the
                residual stream is returned, in rising order.
            stop_early (bool): Run no block after the last layer, nor the
                final norm.
            grid (Grid, optional): Tokens along (time, height, width) if they
                are not of the configured size.

        Returns:
            EncoderOutput: The tokens and the layers, (B, E + K, C) each.

        Raises:
            ValueError: If a layer is not one of the blocks.
        """
        check_layers(layers, self.depth)
        last = layers[-1] if stop_early and layers else self.depth
        tokens, kept = self._run(patches, token_ids, grid, last, layers)
        if stop_early:
            return EncoderOutput(None, kept)
        return EncoderOutput(self.norm(tokens), kept)

    def _run(
        self,
        patches: Tensor,
        token_ids: Tensor | None,
        grid: Grid | None,
        last: int,
        layers: Sequence[int],
    ) -> tuple[Tensor, list[Tensor]]:
        """The residual stream after block ``last``, and at the layers."""
        tokens = self.enter(patches, token_ids, grid)
        kept = []
        for number, block in enumerate(self.blocks[:last], start=1):
            tokens = block(tokens)
            if number in layers:
                kept.append(tokens)
        return tokens, kept


def take_out_pretrained(
    init_cfg: InitCfg, pretrained: str | None, otherwise: InitCfg
) -> tuple[InitCfg, str | None, str | None]:
    """Take a ``Pretrained`` out of ``init_cfg``: MMEngine's is not strict.

    Args:
        init_cfg (dict | List[dict], optional): The backbone's.
        pretrained (str, optional): A checkpoint given beside it.
        otherwise (dict | List[dict], optional): The ``init_cfg`` to put in
            its place.

    Returns:
        tuple: ``init_cfg``, the checkpoint and the prefix of its names.

    Raises:
        ValueError: If two checkpoints are given.
    """
    if not isinstance(init_cfg, dict) or str(init_cfg.get('type')).split('.')[-1] != 'Pretrained':
        return init_cfg, pretrained, None
    if pretrained:
        raise ValueError(
            f"pretrained='{pretrained}' and init_cfg="
            f'{dict(init_cfg)} are both given; one checkpoint is enough'
        )
    return otherwise, init_cfg['checkpoint'], init_cfg.get('prefix')
