from amd_mm.checkpoints import load_into
from amd_mm.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Loads ``load_from`` and resumed checkpoints through the strict loader.

    MMEngine loads what happens to fit and warns about the rest. With this
    hook

    - a checkpoint may be in any format that :mod:`amd_mm.checkpoints` knows;
    - the log says exactly what was taken;
    - testing, validating and resuming need every weight of the model;
    - training from ``load_from`` needs every weight of the backbone but the
      norm of the mean, which pre-training does not have; the other parts (a
      head, a neck) start fresh if the file has none of that shape.

    Raises:
        CheckpointError: If the checkpoint is of no known format or does not
            fit; names what is missing or has another shape.
    """

    # After EMAHook, which exchanges the weights of a resumed checkpoint.
    priority = 'VERY_LOW'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Load, and leave MMEngine nothing to do but to look."""
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        load_into(
            model,
            checkpoint,
            prefix='',
            allow_missing=fresh_parts(model) if starts_training(runner) else (),
            name=runner._load_from,
        )
        # MMEngine goes on to load this, without further ado.
        checkpoint['state_dict'] = model.state_dict()


def starts_training(runner: Runner) -> bool:
    """Whether the runner is to train from ``load_from``, not to resume."""
    # The runner builds the loop that it is going to run, then loads.
    return isinstance(runner._train_loop, BaseLoop) and not runner._resume


def fresh_parts(model: nn.Module) -> tuple[str, ...]:
    """Parts that may start fresh: the head and what else is no backbone."""
    others = [name for name, _ in model.named_children() if name != 'backbone']
    return ('backbone.fc_norm', 'backbone.ln2', *others)
