"""What the video and the image backbone have in common."""
from dataclasses import dataclass
from typing import List, Optional, Sequence

from torch import Tensor


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
    """Raise a ValueError unless ``taps`` are rising block numbers from 1."""
    rising = all(a < b for a, b in zip(taps, taps[1:]))
    if not rising or any(not 1 <= tap <= depth for tap in taps):
        raise ValueError(f'taps are rising block numbers from 1 to {depth}, '
                         f'got {list(taps)}')
