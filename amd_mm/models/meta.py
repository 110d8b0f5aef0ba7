"""Models in their real size without memory for their weights, and what their steps compute."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from amd_mm.registry import MODELS
from mmengine.config import Config, ConfigDict
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from .algorithms import MaskedAutoencoder, TinyMIM
from .backbones import ImageVisionTransformer, VideoVisionTransformer
from .teachers import randomize_teachers

PARTS = dict(student='backbone', teacher='teacher', neck='neck', decoder='decoder', head='head')


class EmptyOnMeta(TorchFunctionMode):
    """Puts only the tensors that ``torch.empty`` makes (weights) on the meta device."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get('device') is None:
            kwargs['device'] = 'meta'
        return func(*args, **kwargs)


def build_on_meta(cfg: Config) -> nn.Module:
    """Build the model of a config with weights on the meta device and real buffers.

    A teacher's checkpoint is not read.
    """
    model = copy.deepcopy(ConfigDict(cfg.model))
    randomize_teachers(model)
    with (
        EmptyOnMeta(),
        # A teacher with random weights calls it at construction, and MMEngine's reads the weights.
        mock.patch.object(VideoVisionTransformer, 'init_weights'),
        mock.patch.object(ImageVisionTransformer, 'init_weights'),
    ):
        return MODELS.build(model)


class FlashBfloat16(TorchFunctionMode):
    """Autocast to bfloat16 and fused attention, neither of which the meta device has."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            query, key, value = (to_bfloat16(one) for one in args[:3])
            return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
        if func is F.linear:
            args, kwargs = tree_map(to_bfloat16, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def to_bfloat16(value: Any) -> Any:
    """Cast a floating-point tensor; other values stay."""
    return value.bfloat16() if isinstance(value, Tensor) and value.is_floating_point() else value


class Meter(TorchDispatchMode):
    """Counts the FLOPs of each part of a model, and the bytes that it saves for its backward pass.

    Args:
        model: Any model. Those that pre-train and classifiers have the parts in :func:`part_of`.

    Attributes:
        flops: FLOPs of the forward and backward pass, by part; a multiply-add counts as two. Fused
            attention computes its scores again in the backward pass, which counts.
        saved: Bytes by part. A tensor that several operators save counts once.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.part = 'rest'
        self.flops: Counter[str] = Counter()
        self.saved: Counter[str] = Counter()
        # Tensors are kept, so that no address is used twice. Weights are not activations.
        self._storages: dict[int, Tensor] = {
            one.untyped_storage()._cdata: one for one in model.parameters()
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.flops[self.part] += count(*args, **(kwargs or {}), out_val=out)
        return out

    def pack(self, tensor: Tensor) -> tuple[Tensor, str]:
        """Count a tensor that the backward pass needs, and remember whose it is."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._storages:
            self._storages[storage._cdata] = tensor
            self.saved[self.part] += storage.nbytes()
        return tensor, self.part

    def unpack(self, packed: tuple[Tensor, str]) -> Tensor:
        """What follows in the backward pass belongs to the part that saved the tensor."""
        tensor, self.part = packed
        return tensor

    @contextmanager
    def parts(self) -> Iterator[None]:
        """Within, every part's method says whose operators follow."""
        with ExitStack() as stack:
            for part in PARTS:
                owner = part_of(self.model, part)
                several = isinstance(owner, nn.ModuleDict)  # a teacher or neck by name
                for one in owner.values() if several else [owner]:
                    for name in ('forward', 'encode', 'query_key_value'):
                        if hasattr(one, name):
                            setattr(one, name, self._naming(part, getattr(one, name)))
                            stack.callback(delattr, one, name)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self.pack, self.unpack))
            yield

    def _naming(self, part: str, method: Callable) -> Callable:
        def named(*args: Any, **kwargs: Any) -> Any:
            before, self.part = self.part, part
            try:
                return method(*args, **kwargs)
            finally:
                self.part = before

        return named


def part_of(model: nn.Module, part: str) -> Any:
    """The module of one of ``PARTS``, or None. The head of a recogniser is ``cls_head``."""
    found = getattr(model, PARTS[part], None)
    return getattr(model, 'cls_head', None) if found is None and part == 'head' else found


def meter_step(model: Any, inputs: dict) -> Meter:
    """Run the step of a model on the meta device, without the optimiser.

    Args:
        model: From :func:`build_on_meta`, all of it on the meta device. Of what does not pre-train,
            the backbone and the head of a classifier run: the heads of detectors need values.
        inputs: What a data loader gives; only ``inputs``, after preprocessing, for a model that
            does not pre-train.
    """
    pretrains = isinstance(model, (MaskedAutoencoder, TinyMIM))
    with (meter := Meter(model)).parts(), meter, FlashBfloat16():
        if pretrains:
            data = model.data_preprocessor(inputs, True)
            loss, _ = model.parse_losses(model(**data, mode='loss'))
        else:
            features = model.backbone(inputs['inputs'])
            head = part_of(model, 'head')
            outputs = features if head is None else head(features)
            loss = (outputs[0] if isinstance(outputs, (list, tuple)) else outputs).float().mean()
        loss.backward()
    model.zero_grad()
    return meter
