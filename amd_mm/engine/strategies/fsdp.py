import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from amd_mm.checkpoints import load_into
from amd_mm.checkpoints.io import PARTIAL_SUFFIX
from amd_mm.registry import FUNCTIONS, HOOKS
from mmengine import registry as root
from mmengine._strategy import FSDPStrategy
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_distributed, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import Registry
from mmengine.runner import FlexibleRunner
from torch import Tensor, nn
from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel, StateDictType

from ..hooks.strict_load import StrictLoadHook, load_options
from ..launch import LaunchError

STRATEGIES = Registry(
    'strategy', parent=root.STRATEGIES, scope='amd_mm', locations=['amd_mm.engine.strategies']
)


@FUNCTIONS.register_module()
def wrap_classes(
    module: nn.Module, recurse: bool, nonwrapped_numel: int, names: Sequence[str]
) -> bool:
    """An ``auto_wrap_policy`` that makes a unit of every module of a class.

    A unit's weights are together only inside its ``forward``. So it takes
    classes that are called, as transformer blocks are, and not those of which
    other methods are used: ``backbone.encode`` would find shards. What is in
    no unit is gathered for the whole step.

    Args:
        module (nn.Module): A module of the model.
        recurse (bool): Whether the question is about what is inside.
        nonwrapped_numel (int): Its weights that are in no unit yet.
        names (Sequence[str]): Names of classes; their subclasses count.

    Returns:
        bool: Whether to look inside, or to make a unit.
    """
    return recurse or any(cls.__name__ in names for cls in type(module).mro())


@STRATEGIES.register_module()
class GuardedFSDPStrategy(FSDPStrategy):
    """MMEngine's ``FSDPStrategy``, computing what one process does.

    Each process keeps a share of the weights, gradients and optimiser states.
    The frozen teacher is whole on each: it has neither gradients nor optimiser
    states, and in bfloat16 it takes 2 bytes a weight instead of 16. Here, and
    not in MMEngine 0.10.7,

    - the gradient is clipped by its norm over all shards, not by each
      process's own;
    - rules of ``paramwise_cfg`` see whole weights: in shards all are 1-D, and
      ``flat_decay_mult`` would take the decay away from all of them;
    - the teacher, which is no sub-module, gets to the device;
    - the optimiser's states can be resumed with PyTorch from 2.1 on;
    - a checkpoint is written under another name and renamed, as
      :class:`~amd_mm.engine.AtomicCheckpointHook` does elsewhere;
    - processes without a GPU work, through gloo.

    Arguments are those of ``mmengine.FSDPStrategy``; ``state_dict_cfg`` has to
    be ``full``. The weights in a checkpoint are then those that any other run
    writes; the optimiser's states are resumed with this strategy only, by any
    number of processes.

    Raises:
        LaunchError: Without a launcher, or with another ``state_dict_cfg``.
    """

    model_wrapper: Any  # config of the wrapper, of MMEngine's

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model, whole, if it can be sharded afterwards.

        Args:
            model (nn.Module | dict): The model or its config.

        Returns:
            nn.Module: The model.
        """
        if not is_distributed():
            raise LaunchError(
                'strategy.type=GuardedFSDPStrategy shares a model out among '
                'processes, and this is one without a launcher: start it with '
                'tools/dist_train.sh CONFIG GPUS, torchrun or Slurm (for one '
                'GPU take the config without FSDP)'
            )
        if not self._is_full_state_dict():
            raise LaunchError(
                "strategy.state_dict_cfg has to be 'full': checkpoints in "
                'shards fit only the same number of processes'
            )
        return super().build_model(model)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if is_model_wrapper(model):
            return model
        device = get_device()
        teacher = getattr(model, 'teacher', None)
        if isinstance(teacher, nn.Module):
            teacher.to(device)
        if device == 'cpu':  # MMEngine gives the number of a GPU
            self.model_wrapper = dict(
                self.model_wrapper or dict(type='mmengine.MMFullyShardedDataParallel'),
                device_id=torch.device('cpu'),
            )
            for settings in (self.state_dict_config, self.optim_state_dict_config):
                settings.offload_to_cpu = False  # see WholeModel
        count = sum(parameter.numel() for parameter in model.parameters())
        model = super()._wrap_model(model)
        self.logger.info(
            f'FSDP: {count / 1e6:.1f} M parameters in '
            f'{len(FullyShardedDataParallel.fsdp_modules(model))} units, '
            f'shared out among {get_world_size()} processes. Counts of '
            'parameters after this are of one share.'
        )
        return model

    def build_optim_wrapper(
        self,
        optim_wrapper: torch.optim.Optimizer | BaseOptimWrapper | dict,
        model: nn.Module | None = None,
    ) -> BaseOptimWrapper:
        """Build the optimiser over the shards by rules for whole weights.

        Args:
            optim_wrapper (Optimizer | BaseOptimWrapper | dict): See
                ``mmengine.FSDPStrategy``.
            model (nn.Module): The sharded model.

        Returns:
            BaseOptimWrapper: The wrapper.
        """
        assert isinstance(model, FullyShardedDataParallel)
        with FullyShardedDataParallel.summon_full_params(model, writeback=False):
            wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(wrapper, 'clip_func', None) is _CLIP_BY_NORM:
            wrapper.clip_func = _clip_whole(model)
        return wrapper

    def optim_state_dict(self) -> dict:
        """The optimiser's states, whole, on the first process."""
        state = super().optim_state_dict()
        # FSDP knows nothing of it; the logged base_lr goes on from there.
        state['base_param_settings'] = self.optim_wrapper.base_param_settings
        return state

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load the optimiser's states.

        Args:
            state_dict (dict): Of :meth:`optim_state_dict`.

        Raises:
            LaunchError: If another strategy wrote it.
        """
        state_dict = dict(state_dict)
        base = state_dict.pop('base_param_settings', None)
        if not all(isinstance(name, str) for name in state_dict['state']):
            raise LaunchError(
                'the checkpoint to resume from was written without FSDP, and '
                "its optimiser's states fit only there: resume with the "
                'config that wrote it, or start from its weights alone '
                '(load_from=FILE without --resume)'
            )
        # By name: PyTorch 2.1 changed the order that MMEngine relies on.
        share = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        share['base_param_settings'] = base
        self.optim_wrapper.load_state_dict(share)

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: dict | None = None,
        callback: Callable | None = None,
    ) -> None:
        """Write a checkpoint whose name never stands for half of it.

        All processes take part, the first one writes.

        Args:
            filename (str): The file. Elsewhere than in a local folder
                (``s3://``) it is written by MMEngine.
            save_optimizer (bool): Whether with the optimiser's states.
            save_param_scheduler (bool): Whether with the schedulers'.
            extra_ckpt (dict, optional): What else belongs to it.
            callback (Callable, optional): May change it before it is written.
        """
        local = '://' not in filename
        written = filename + PARTIAL_SUFFIX if local else filename
        super().save_checkpoint(
            written,
            save_optimizer=save_optimizer,
            save_param_scheduler=save_param_scheduler,
            extra_ckpt=extra_ckpt,
            callback=callback,
        )
        if local and is_main_process():
            with open(written, 'rb+') as file:
                os.fsync(file.fileno())
            os.replace(written, filename)


_CLIP_BY_NORM = torch.nn.utils.clip_grad_norm_


def _clip_whole(model: FullyShardedDataParallel) -> Callable[..., Tensor]:
    """``clip_grad_norm_`` over the shards of all processes."""

    def clip(params: Sequence[Tensor], max_norm: float, norm_type: float = 2.0) -> Tensor:
        return model.clip_grad_norm_(max_norm, norm_type)

    return clip


class WholeModel(nn.Module):
    """The whole weights of a sharded model, as the strict loader asks.

    Args:
        model (FullyShardedDataParallel): The model; every process calls this.
    """

    _model: Any  # past nn.Module, which would register it

    def __init__(self, model: FullyShardedDataParallel) -> None:
        super().__init__()
        object.__setattr__(self, '_model', model.module)
        # To the CPU, but not from it: PyTorch 2.13 takes that for a copy, then
        # frees what was not copied, and crashes.
        settings = FullStateDictConfig(offload_to_cpu=get_device() != 'cpu', rank0_only=False)
        with FullyShardedDataParallel.state_dict_type(
            model, StateDictType.FULL_STATE_DICT, settings
        ):
            state = model.state_dict()
        learnt = {name for name, _ in model.named_parameters()}
        self._state = {
            # Fixed tables and learnt ones are told apart by this.
            name: nn.Parameter(value) if name in learnt else value
            for name, value in state.items()
        }

    def state_dict(  # type: ignore[override]
        self, keep_vars: bool = False
    ) -> dict[str, Tensor]:
        """All weights, in memory of their own."""
        if keep_vars:
            return self._state
        return {name: value.detach() for name, value in self._state.items()}

    def get_submodule(self, target: str) -> nn.Module:
        """A module of the model itself."""
        return self._model.get_submodule(target)


@HOOKS.register_module()
class FSDPStrictLoadHook(StrictLoadHook):
    """:class:`StrictLoadHook` for a model of which each process has a share.

    Raises:
        CheckpointError: As :class:`StrictLoadHook` does.
    """

    def after_load_checkpoint(self, runner: FlexibleRunner, checkpoint: dict) -> None:
        """Put whole weights into the checkpoint, which FSDP then deals out."""
        whole = WholeModel(runner.model)
        load_into(whole, checkpoint, prefix='', **load_options(runner, runner.model.module))
        checkpoint['state_dict'] = whole.state_dict()
