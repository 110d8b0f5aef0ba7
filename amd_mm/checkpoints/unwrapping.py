"""Finding the weights in whatever a program saved."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .errors import CheckpointFormatError
from .names import first_few

# Where programs put the weights inside a file, the plain ones before the
# averaged ones. (MMEngine's EMAHook saves the averaged weights *as*
# `state_dict`, and the plain ones as `ema_state_dict`.)
_WRAPPERS = (
    'state_dict',
    'model',
    'module',
    'model_state_dict',
    'model_ema',
    'ema_state_dict',
    'state_dict_ema',
    'ema',
)
# Prefixes of wrapping modules: DDP, the VideoMAE v2 port on Hugging Face.
_MODULE_PREFIXES = ('module.', 'model.')
_COMPILED = '_orig_mod.'
# Bookkeeping of averaged models, beside the wrapped module.
_AVERAGING = ('steps', 'n_averaged')


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Find the weights in whatever a program saved.

    Looks below ``state_dict``, ``model``, ``module`` and the averaged
    variants, and takes off what ``DistributedDataParallel``,
    ``torch.compile`` and averaged models put before every name.

    Args:
        checkpoint (Mapping[str, Any]): What :func:`read_checkpoint` gives, or
            a state dict.

    Returns:
        dict[str, Tensor]: Name -> tensor, nothing else.

    Raises:
        CheckpointFormatError: If there are no tensors.
    """
    inner: Mapping[str, Any] = checkpoint
    while True:
        wrapper = next((key for key in _WRAPPERS if isinstance(inner.get(key), Mapping)), None)
        if wrapper is None:
            break
        inner = inner[wrapper]
    state = {
        str(name).replace(_COMPILED, ''): value
        for name, value in inner.items()
        if isinstance(value, Tensor)
    }
    if not state:
        raise CheckpointFormatError(
            f'There are no weights in this checkpoint. It holds: {first_few(map(str, checkpoint))}.'
        )
    for prefix in _MODULE_PREFIXES:
        state = _strip(state, prefix)
    if any(name.startswith('embeddings.patch_embeddings.') for name in state):
        # VideoMAEModel saved by itself: the same names without their prefix.
        state = {'videomae.' + name: value for name, value in state.items()}
    return state


def _strip(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take ``prefix`` off, if it is before every name that counts."""
    names = [name for name in state if name not in _AVERAGING]
    if not names or not all(name.startswith(prefix) for name in names):
        return state
    return {name[len(prefix) :]: state[name] for name in names}
