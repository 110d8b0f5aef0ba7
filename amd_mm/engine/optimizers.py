"""AdamW in the fastest form there is for where the parameters are."""

from collections.abc import Iterable
from typing import Any

import torch
from amd_mm.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import AdamW

Parameters = Iterable[Tensor | dict[str, Any]]


@OPTIMIZERS.register_module(name='FusedAdamW')
def fused_adamw(
    params: Parameters,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> AdamW:
    """``torch.optim.AdamW``, fused where torch can.

    All of a step in one pass over the memory. The result is AdamW's within
    rounding, and checkpoints are the same: a run may go on with the other.
    Torch fuses on CUDA, and from 2.4 on also on the CPU; before that, this is
    AdamW as usual.

    Args:
        params (Iterable[Tensor | dict]): Parameters or groups of them;
            MMEngine fills them in.
        lr (float): Learning rate.
        betas (tuple[float, float]): Decay of the two averages.
        eps (float): Added to the root of the second.
        weight_decay (float): Decoupled weight decay.

    Returns:
        AdamW: The optimiser.
    """
    given: list[Any] = list(params)
    if not isinstance(given[0], dict):
        given = [dict(params=given)]
    # Listed here, as looking at the first would use a generator up.
    groups = [dict(group, params=_listed(group['params'])) for group in given]
    device = groups[0]['params'][0].device.type
    return AdamW(
        groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=_can_fuse(device)
    )


def _listed(params: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [params] if isinstance(params, Tensor) else list(params)


def _can_fuse(device: str) -> bool:
    """Try it: what torch can depends on its version and build."""
    probe = torch.zeros(1, device=device, requires_grad=True)
    probe.grad = torch.zeros_like(probe)
    try:
        AdamW([probe], fused=True).step()
    except RuntimeError:
        return False
    return True
