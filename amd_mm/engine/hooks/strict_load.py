import os
from typing import Any

from amd_mm.checkpoints import load_into, read_checkpoint
from amd_mm.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, CheckpointLoader, Runner
from torch import nn

from ..agreement import check_checkpoint


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Loads the weights of ``load_from``, of ``--resume`` and of a test strictly.

    MMEngine loads the weights that fit, and warns about the others. With this hook a checkpoint
    may be in any format of :mod:`amd_mm.checkpoints`, and the log lists the weights taken from it.
    Testing, validating and resuming need every weight of the model. Training from ``load_from``
    needs the backbone (except the norm of the mean, which pre-training lacks); a head or neck keeps
    its initial values if the file has none of that shape.

    Raises:
        CheckpointError: If the checkpoint is in no known format or does not fit.
        ConfigError: If a model is tested on other classes than those that it was trained on.
    """

    priority = 'VERY_LOW'  # after EMAHook, which swaps the weights of a resumed checkpoint

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Load the weights; MMEngine then loads the same ones again."""
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        load_into(model, checkpoint, prefix='', **load_options(runner, model))
        if isinstance(runner._test_loop, BaseLoop):
            check_checkpoint(checkpoint, runner._test_loop.dataloader.dataset)
        checkpoint['state_dict'] = model.state_dict()


def load_options(runner: Runner, model: nn.Module) -> dict[str, Any]:
    """Options of :func:`load_into` for the checkpoint that a runner loads into a model."""
    path = runner._load_from
    # The runner builds the loop that it will run, then loads.
    if runner._resume:
        remedy = (
            'Resume with the config that the checkpoint was trained with, or start from its '
            f'weights: --cfg-options load_from={path}, without --resume.'
        )
    elif isinstance(runner._train_loop, BaseLoop):
        fresh = [name for name, _ in model.named_children() if name != 'backbone']
        remedy = 'Give a checkpoint that has the whole backbone (load_from).'
        return dict(
            allow_missing=('backbone.fc_norm', 'backbone.ln2', *fresh), name=path, remedy=remedy
        )
    else:
        remedy = 'Give a checkpoint that was trained with this config.'
    return dict(name=path, remedy=remedy)


@CheckpointLoader.register_scheme(prefixes='', force=True)
@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_any_format(filename: str, map_location: object = None) -> dict[str, Any]:
    """MMEngine's loader of files and addresses: safe with every PyTorch, and for more formats.

    MMEngine 0.10.7 unpickles any object from an address, and from a file with PyTorch < 2.6.
    """
    return read_checkpoint(os.path.expanduser(filename))
