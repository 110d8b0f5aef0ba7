"""What the video and the image backbone have in common."""

import itertools
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple, Union

from torch import Tensor

InitCfg = Optional[Union[Dict, List[Dict]]]


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder returns.

    Attributes:
        tokens (Tensor, optional): (B, E + K, C), after the final norm, the E
            class tokens first (0 for video); None if the encoder stopped after
            its last tap.
        taps (List[Tensor]): (B, E + K, C) each: the residual stream after the
            blocks asked for, before any final norm.
    """

    tokens: Optional[Tensor]
    taps: List[Tensor]


def check_taps(taps: Sequence[int], depth: int) -> None:
    """Check that taps are blocks of an encoder, in rising order.

    Args:
        taps (Sequence[int]): Block numbers, counted from 1; there may be none.
        depth (int): Blocks of the encoder.

    Raises:
        ValueError: If one is not a block, or they do not rise.
    """
    rising = all(a < b for a, b in itertools.pairwise(taps))
    if not rising or any(not 1 <= tap <= depth for tap in taps):
        raise ValueError(
            f'taps are rising block numbers from 1 to {depth}, '
            f'got {list(taps)}'
        )


def take_out_pretrained(
    init_cfg: InitCfg, pretrained: Optional[str], otherwise: InitCfg
) -> Tuple[InitCfg, Optional[str], Optional[str]]:
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
    if (
        not isinstance(init_cfg, dict)
        or str(init_cfg.get('type')).split('.')[-1] != 'Pretrained'
    ):
        return init_cfg, pretrained, None
    if pretrained:
        raise ValueError(
            f"pretrained='{pretrained}' and init_cfg="
            f'{dict(init_cfg)} are both given; one checkpoint is enough'
        )
    return otherwise, init_cfg['checkpoint'], init_cfg.get('prefix')
