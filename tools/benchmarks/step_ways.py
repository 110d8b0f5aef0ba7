"""A step of pre-training in one way, whole and part by part."""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Optional

import amd_mm  # noqa: F401, its import-time fixes serve what follows
import torch
from amd_mm.models import MaskedAutoencoder, TinyMIM, TokenPartition
from amd_mm.models.utils import gather_tokens
from amd_mm.registry import MODELS
from common import DTYPES, Machine, UnequalError
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from plain_step import PlainParts, plain_config, whole_teacher
from torch import Tensor, nn

OURS, PLAIN, OTHER = 'amd_mm', 'plain', 'other'
TRAINED, OPTIMISER = ('student', 'neck', 'decoder'), 'optimiser'


@dataclass(frozen=True)
class Task:
    """What is measured; travels to other processes.

    Attributes:
        config (str): The pre-training config.
        options (dict): Changes of it.
        other (dict | None): Further changes for the other way; None for the
            plain one.
        batch (int): Clips or images a step.
        lr (float): Learning rate, constant.
        plain_dtype (str): What the plain way's autocast computes in.
    """

    config: str
    options: dict[str, Any]
    other: dict[str, Any] | None
    batch: int
    lr: float
    plain_dtype: str

    def load(self, way: str, machine: Machine) -> Config:
        """The config of a way.

        Raises:
            ValueError: If it is none of pre-training.
            NotPlainError: See :func:`plain_config`.
        """
        cfg = Config.fromfile(self.config)
        cfg.merge_from_dict(self.options)
        if way == OTHER:
            cfg.merge_from_dict(self.other)
        kind = cfg.get('model') and MODELS.get(cfg.model.type)
        if not kind or not issubclass(kind, (MaskedAutoencoder, TinyMIM)):
            raise ValueError(
                f'{self.config} does not pre-train by amd_mm.'
                'MaskedAutoencoder, amd_mm.AMD or amd_mm.TinyMIM: its model '
                f'is {cfg.get("model", {}).get("type")}'
            )
        if cfg.model.get('teacher'):
            cfg.model.teacher.update(checkpoint=None, random_init=True)
            if machine.dtype == 'fp32':
                cfg.model.teacher.dtype = 'float32'
        if way == PLAIN:
            cfg.model = plain_config(cfg.model)
        cfg.optim_wrapper.optimizer.lr = self.lr
        cfg.optim_wrapper.pop('accumulative_counts', None)
        return cfg


class Inputs:
    """Synthetic clips or images as a data loader gives them, always the same.

    Args:
        model (nn.Module): For which.
        batch (int): How many.
        device (torch.device): They are there already.
    """

    def __init__(self, model: nn.Module, batch: int, device: torch.device) -> None:
        backbone = model.backbone
        size = [tokens * side for tokens, side in zip(backbone.token_grid, backbone.patch_shape)]
        self.is_video = backbone.input_dims == 5
        shape = (batch, backbone.in_channels, *(size if self.is_video else size[1:]))
        generator = torch.Generator().manual_seed(0)
        values = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        if self.is_video:  # frame by frame, the colours of a pixel together
            values = values.movedim(1, -1).contiguous().movedim(-1, 1)
        self.values = values.to(device)
        self.two_views = isinstance(model, TinyMIM)

    def packed(self) -> dict[str, object]:
        """What the data loader gives; new, as preprocessors use it up."""
        if self.is_video:
            inputs = [self.values]
        elif self.two_views:
            inputs = [self.values, self.values.clone()]
        else:
            inputs = self.values
        return dict(inputs=inputs, data_samples=[])


class OurParts:
    """The parts of a step, as the algorithms of this package do them.

    Args:
        model (MaskedAutoencoder): The model.
    """

    def __init__(self, model: MaskedAutoencoder) -> None:
        self.model = model

    def teacher(self, clip: Tensor, partition: TokenPartition) -> list[Tensor]:
        """Layers (B, Kv + Ke, C), the visible tokens first."""
        patches = self.model.backbone.patchify(clip)
        return self.model.teacher(patches, partition.teacher)

    def student(self, clip: Tensor, partition: TokenPartition) -> tuple[Tensor, list[Tensor]]:
        """Normed tokens (B, Kv, C), and the layers."""
        out = self.model.backbone.encode(
            self.model.backbone.patchify(clip),
            partition.visible,
            layers=getattr(self.model, 'student_layers', ()),
        )
        return out.tokens, out.layers

    def neck(
        self, layers: list[Tensor], theirs: list[Tensor], partition: TokenPartition
    ) -> dict[str, Tensor]:
        """The alignment losses, weighted."""
        predicted = self.model.neck(layers, partition)
        losses = self.model.alignment_loss(predicted, theirs)
        self.model.health(layers, predicted, theirs)
        return {k: v for k, v in losses.items() if k.startswith('loss')}

    def target(self, clip: Tensor, partition: TokenPartition) -> Tensor:
        """(B, Kd, P), what is to be predicted."""
        patches = gather_tokens(self.model.backbone.patchify(clip), partition.targets)
        return self.model.head.target(patches, *self.model.pixel_stats())

    def decoder(self, tokens: Tensor, target: Tensor, partition: TokenPartition) -> Tensor:
        """The reconstruction's loss, weighted."""
        prediction = self.model.decoder(tokens, partition.visible, partition.targets)
        return self.model.rec_weight * nn.functional.mse_loss(prediction.float(), target)


class Way:
    """One of the two ways: a model, its parts, its optimiser and its step.

    Args:
        name (str): ``OURS``, ``OTHER`` or ``PLAIN``.
        task (Task): What is measured.
        machine (Machine): Where.
        like (Way, optional): Whose weights to take; random ones else.
    """

    def __init__(
        self, name: str, task: Task, machine: Machine, like: Optional['Way'] = None
    ) -> None:
        self.machine, self.plain = machine, name == PLAIN
        self.dtype = task.plain_dtype if self.plain else machine.dtype
        cfg = task.load(name, machine)
        torch.manual_seed(0)
        self.model = MODELS.build(cfg.model)
        self.model.init_weights()
        # Zeros and ones would hide a bias or a norm in the wrong place.
        for parameter in self.model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.01)
        if like is not None:
            self.model.load_state_dict(like.model.state_dict())
            _copy_teacher(self.model, like.model)
        teacher = whole_teacher(self.model, cfg.model) if self.plain else None
        device = torch.device(machine.device)
        self.model.to(device).train()
        self.inputs = Inputs(self.model, task.batch, device)
        if self.plain:
            self.parts = PlainParts(self.model, teacher and teacher.to(device))
            self._drop_short_teacher()
            self._build_plain_optimizer(cfg.optim_wrapper)
        else:
            self.parts = OurParts(self.model)
            cfg.optim_wrapper.precision = machine.dtype
            self.wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)

    def _drop_short_teacher(self) -> None:
        if self.parts.whole_teacher is not None:
            self.model.teacher.backbone = nn.Identity()

    def _build_plain_optimizer(self, cfg: ConfigDict) -> None:
        settings = dict(cfg.optimizer)
        settings.pop('type')
        wrapper = build_optim_wrapper(self.model, cfg)  # its groups
        groups = [
            {key: group[key] for key in ('params', 'lr', 'weight_decay')}
            for group in wrapper.param_groups
        ]
        self.optimizer = torch.optim.AdamW(groups, **settings)
        self.max_norm = (cfg.get('clip_grad') or {}).get('max_norm')
        scaled = self.dtype == 'fp16'
        if hasattr(torch.amp, 'GradScaler'):
            device = self.machine.device
            self.scaler = torch.amp.GradScaler(device, enabled=scaled)
        else:  # before PyTorch 2.3
            self.scaler = torch.cuda.amp.GradScaler(enabled=scaled)

    def autocast(self) -> AbstractContextManager:
        """The context of forward passes."""
        if DTYPES[self.dtype] is None:
            return nullcontext()
        return torch.autocast(torch.device(self.machine.device).type, dtype=DTYPES[self.dtype])

    def clip(self) -> Tensor:
        """Preprocessed (B, C, T, H, W), or images (B, C, H, W)."""
        data = self.model.data_preprocessor(self.inputs.packed(), True)
        inputs = data['inputs']
        if not isinstance(inputs, Tensor):
            inputs = inputs[0]
        return inputs.flatten(0, 1) if inputs.ndim > 5 else inputs

    def step(self) -> Tensor:
        """A whole step of training, from uint8 inputs; the loss."""
        return self._plain_step() if self.plain else self._step()

    def _step(self) -> Tensor:
        outputs = self.model.train_step(self.inputs.packed(), self.wrapper)
        return outputs['loss']

    def _plain_step(self) -> Tensor:
        with self.autocast():
            clip = self.clip()
            partition = draw(self.model, clip)
            losses = self.parts.losses(clip, partition)
        loss = sum(losses.values())
        if not math.isfinite(loss.item()):
            raise UnequalError('the loss of the plain way is not finite')
        for value in losses.values():
            value.item()
        self.scaler.scale(loss).backward()
        self.step_optimizer()
        self.optimizer.zero_grad()
        return loss.detach()

    def step_optimizer(self) -> None:
        """Clip the gradients and step."""
        if not self.plain:
            self.wrapper.step()
            return
        self.scaler.unscale_(self.optimizer)
        if self.max_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm).item()
        self.scaler.step(self.optimizer)
        self.scaler.update()


def _copy_teacher(model: nn.Module, source: nn.Module) -> None:
    if getattr(source, 'teacher', None) is not None:
        model.teacher.load_state_dict(source.teacher.state_dict())


class PartSteps:
    """The parts of a step one by one, each with its backward pass.

    Args:
        way (Way): Whose.
    """

    def __init__(self, way: Way) -> None:
        self.way, self.clip = way, way.clip()
        self.partition = partition = draw(way.model, self.clip)
        model, parts = way.model, way.parts
        self.names = ['student']
        with torch.no_grad(), way.autocast():
            tokens, layers = parts.student(self.clip, partition)
            if getattr(model, 'neck', None) is not None:
                self.names = ['teacher', 'student', 'neck']
                self.layers = [_leaf(layer) for layer in layers]
                self.theirs = parts.teacher(self.clip, partition)
            if model.reconstructs:
                self.names += ['decoder', 'target']
                self.tokens = _leaf(tokens)
                self.goal = parts.target(self.clip, partition)
        self.names.append(OPTIMISER)

    def run(self, name: str) -> None:
        """One part, once."""
        if name == OPTIMISER:
            self.way.step_optimizer()
            return
        gradients = name in TRAINED
        with torch.set_grad_enabled(gradients), self.way.autocast():
            outputs = getattr(self, f'_{name}')()
        if gradients:
            self.way.model.zero_grad()
            torch.autograd.backward(outputs, [torch.ones_like(o) for o in outputs])

    def prepare(self, name: str) -> None:
        """Give the optimiser gradients to step with."""
        if name != OPTIMISER:
            return
        for parameter in self.way.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.full_like(parameter, 1e-4)
        if self.way.plain and self.way.scaler.is_enabled():
            self.way.scaler.scale(torch.ones(1, device=self.way.machine.device))

    def _teacher(self) -> None:
        self.way.parts.teacher(self.clip, self.partition)

    def _target(self) -> None:
        self.way.parts.target(self.clip, self.partition)

    def _student(self) -> list[Tensor]:
        tokens, layers = self.way.parts.student(self.clip, self.partition)
        return [tokens, *layers] if self.way.model.reconstructs else layers

    def _neck(self) -> list[Tensor]:
        losses = self.way.parts.neck(self.layers, self.theirs, self.partition)
        return list(losses.values())

    def _decoder(self) -> list[Tensor]:
        return [self.way.parts.decoder(self.tokens, self.goal, self.partition)]


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


def has_parts(way: Way) -> bool:
    """Whether a masked autoencoder steps, with or without a teacher."""
    return isinstance(way.model, MaskedAutoencoder)


def draw(model: nn.Module, clip: Tensor) -> TokenPartition:
    """Who sees what of (B, C, T, H, W); all ways' nth draws are the same."""
    return model.mask_generator(len(clip), model.backbone.token_grid, clip.device)
