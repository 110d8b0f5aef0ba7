"""Training with sharded weights (FSDP), for MMEngine's ``FlexibleRunner``.

``configs/_base_/runtime/fsdp.py`` imports it.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from amd_mm.checkpoints import load_into
from amd_mm.checkpoints.io import PARTIAL_SUFFIX
from amd_mm.errors import CheckpointError, ConfigError
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

from .hooks.strict_load import StrictLoadHook, load_options

STRATEGIES = Registry(
    'strategy', parent=root.STRATEGIES, scope='amd_mm', locations=['amd_mm.engine.strategies']
)


@FUNCTIONS.register_module()
def wrap_classes(
    module: nn.Module, recurse: bool, nonwrapped_numel: int, names: Sequence[str]
) -> bool:
    """An ``auto_wrap_policy`` that shards each module of the named classes as a unit.

    A unit has its whole weights only inside its ``forward``, so name classes that are called, such
    as transformer blocks: the methods of a sharded ``backbone`` would see shards. Weights outside
    of all units are gathered for the whole step.

    Args:
        module: A module of the model.
        recurse: Whether FSDP asks to look inside of the module.
        nonwrapped_numel: Its number of weights that are in no unit yet.
        names: Names of classes; subclasses count.
    """
    return recurse or any(cls.__name__ in names for cls in type(module).mro())


@STRATEGIES.register_module()
class GuardedFSDPStrategy(FSDPStrategy):
    """MMEngine's ``FSDPStrategy``, with the results of training on one process.

    Unlike MMEngine 0.10.7,

    - gradients are clipped by their norm over all shards;
    - ``paramwise_cfg`` applies to whole weights: shards are 1-D, and ``flat_decay_mult`` would
      switch off the decay of all of them;
    - the teacher, which is not a sub-module, is moved to the device, whole;
    - the optimiser's state can be resumed with PyTorch >= 2.1;
    - checkpoints are written atomically;
    - processes without GPU work, through gloo.

    ``state_dict_cfg`` must be ``'full'``: the weights in a checkpoint are those of any other run.
    Only this strategy resumes the optimiser's state, with any number of processes.

    Raises:
        ConfigError: Without a launcher, or for another ``state_dict_cfg``.
    """

    model_wrapper: Any  # its config

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the whole model."""
        if not is_distributed():
            raise ConfigError(
                'strategy.type=GuardedFSDPStrategy shards a model over several processes: start '
                'it with tools/dist_train.sh CONFIG GPUS, torchrun or Slurm, or use the config '
                'without FSDP'
            )
        if not self._is_full_state_dict():
            raise ConfigError(
                "strategy.state_dict_cfg has to be 'full': checkpoints of shards fit only the "
                'same number of processes'
            )
        return super().build_model(model)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if is_model_wrapper(model):
            return model
        device = get_device()
        if isinstance(getattr(model, 'teacher', None), nn.Module):
            model.teacher.to(device)
        if device == 'cpu':  # MMEngine passes the number of a GPU
            wrapper = self.model_wrapper or dict(type='mmengine.MMFullyShardedDataParallel')
            self.model_wrapper = dict(wrapper, device_id=torch.device('cpu'))
            for settings in (self.state_dict_config, self.optim_state_dict_config):
                settings.offload_to_cpu = False  # see WholeModel
        size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        model = super()._wrap_model(model)
        units = len(FullyShardedDataParallel.fsdp_modules(model))
        self.logger.info(
            f'FSDP: {size:.1f} M parameters in {units} units, sharded over {get_world_size()} '
            'processes. Later numbers of parameters are those of one shard.'
        )
        return model

    def build_optim_wrapper(
        self,
        optim_wrapper: torch.optim.Optimizer | BaseOptimWrapper | dict,
        model: nn.Module | None = None,
    ) -> BaseOptimWrapper:
        """Build the optimiser of the shards, by the rules for whole weights."""
        assert isinstance(model, FullyShardedDataParallel)
        with FullyShardedDataParallel.summon_full_params(model, writeback=False):
            wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(wrapper, 'clip_func', None) is torch.nn.utils.clip_grad_norm_:

            def clip(params: Sequence[Tensor], max_norm: float, norm_type: float = 2.0) -> Tensor:
                return model.clip_grad_norm_(max_norm, norm_type)

            wrapper.clip_func = clip
        return wrapper

    def optim_state_dict(self) -> dict:
        """The whole state of the optimiser, on the first process."""
        state = super().optim_state_dict()
        state['base_param_settings'] = self.optim_wrapper.base_param_settings  # the logged base_lr
        return state

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load the state of :meth:`optim_state_dict`.

        Raises:
            CheckpointError: If it was saved without FSDP.
        """
        state_dict = dict(state_dict)
        base = state_dict.pop('base_param_settings', None)
        if not all(isinstance(name, str) for name in state_dict['state']):
            raise CheckpointError(
                "the checkpoint to resume was saved without FSDP, and its optimiser's state fits "
                'only there: resume with the config that saved it, or start from its weights '
                '(load_from=FILE without --resume)'
            )
        # By name: PyTorch 2.1 changed the order of arguments that MMEngine relies on.
        shard = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(dict(shard, base_param_settings=base))

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: dict | None = None,
        callback: Callable | None = None,
    ) -> None:
        """Save the gathered state; a local file atomically."""
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


class WholeModel(nn.Module):
    """The whole weights of a sharded model, for :func:`load_into`; all processes build it."""

    _model: nn.Module

    def __init__(self, model: FullyShardedDataParallel) -> None:
        super().__init__()
        object.__setattr__(self, '_model', model.module)  # not as a sub-module
        # Offloading from CPU to CPU makes PyTorch 2.13 free tensors in use, and crash.
        settings = FullStateDictConfig(offload_to_cpu=get_device() != 'cpu', rank0_only=False)
        with FullyShardedDataParallel.state_dict_type(
            model, StateDictType.FULL_STATE_DICT, settings
        ):
            state = model.state_dict()
        learned = {name for name, _ in model.named_parameters()}
        # load_into distinguishes learned tables from fixed ones by their type.
        self.state = {
            name: nn.Parameter(value) if name in learned else value for name, value in state.items()
        }

    def state_dict(self, keep_vars: bool = False) -> dict[str, Tensor]:  # type: ignore[override]
        """All weights, as copies."""
        if keep_vars:
            return self.state
        return {name: value.detach() for name, value in self.state.items()}

    def get_submodule(self, target: str) -> nn.Module:
        """A module of the model itself."""
        return self._model.get_submodule(target)


@HOOKS.register_module()
class FSDPStrictLoadHook(StrictLoadHook):
    """:class:`StrictLoadHook` for a sharded model."""

    def after_load_checkpoint(self, runner: FlexibleRunner, checkpoint: dict) -> None:
        """Put whole weights into the checkpoint, which FSDP then shards."""
        whole = WholeModel(runner.model)
        load_into(whole, checkpoint, prefix='', **load_options(runner, runner.model.module))
        checkpoint['state_dict'] = whole.state_dict()
