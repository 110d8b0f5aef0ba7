"""Frozen teachers, and the mixin for models that have one."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmcv.cnn.bricks.drop import DropPath
from mmengine.device import get_device
from mmengine.logging import print_log
from torch import Tensor, nn

from .backbones import check_layers
from .utils import bf16_autocast, supports_fast_bf16

DTYPES = dict(float32=torch.float32, bfloat16=torch.bfloat16)


class TeacherMixin(nn.Module):
    """Keeps the teacher out of ``state_dict``, the optimiser, DistributedDataParallel and EMA.

    ``.to()``, ``.cuda()`` and the like move the teacher with the model. List the mixin before the
    model's base class.
    """

    teacher: Any

    def set_teacher(self, teacher: nn.Module) -> None:
        """Set ``self.teacher`` without registering a sub-module."""
        object.__setattr__(self, 'teacher', teacher)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'TeacherMixin':
        super()._apply(fn, recurse)
        self.teacher._apply(fn)
        return self


class Teacher(nn.Module):
    """Base of teachers: frozen, in evaluation mode, shared by copies of the student (EMA).

    A subclass of one's own builds its model and calls :meth:`freeze`; AMD passes ``layers``, the
    blocks of the teacher in ``layer_pairs``. It has ``embed_dims``, the width of its features.
    """

    embed_dims: int
    standardize = False
    layer_norm = False

    def freeze(self) -> None:
        """Train no parameter; to be called at the end of ``__init__``."""
        self.requires_grad_(False)
        self.eval()

    def set_student(self, student: Any, mean: Tensor, std: Tensor) -> None:
        """Meet the student, once, before training: check or adapt to how its tokens are cut.

        Args:
            student: The student's backbone, with ``token_grid``, ``patch_shape``, ``in_channels``
                and ``num_extra_tokens``.
            mean: (C,), by which the student's clips are normalised, for values up to 255.
            std: (C,).

        Raises:
            ConfigError: If the teacher cannot make features for these tokens.
        """

    def forward(self, patches: Tensor, token_ids: Tensor) -> list[Tensor]:
        """The teacher's features.

        Args:
            patches: (B, N, P), all patches of the student's clip, see
                :func:`amd_mm.models.utils.patchify`.
            token_ids: (B, K), int64, the tokens that the teacher sees.

        Returns:
            (B, E + K, C) for each of its layers, float32, in the order of ``token_ids``, after E
            class tokens if the student has these.
        """
        raise NotImplementedError  # a subclass's task

    def normalised(self, layer: Tensor) -> Tensor:
        """Apply ``layer_norm`` and ``standardize`` to a layer (B, K, C)."""
        if self.layer_norm:
            layer = F.layer_norm(layer, layer.shape[-1:], eps=1e-6)
        return standardize_channels(layer) if self.standardize else layer

    def init_weights(self) -> None:
        """Do nothing: the weights are loaded at construction."""

    def train(self, mode: bool = True) -> 'Teacher':
        """Stay in evaluation mode."""
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> 'Teacher':
        """Share the teacher instead of copying it."""
        return self


@MODELS.register_module()
class FrozenTeacher(Teacher):
    """A frozen encoder whose layers a student learns to predict, AMD section 3.

    It sees the student's tokens and further ones. Blocks after the last layer are removed.

    Args:
        backbone: Config of a backbone with ``encode``.
        layers: Its blocks whose output is returned, counted from 1, rising; AMD fills them in.
        checkpoint: File of the weights, of any known format.
        dtype: ``bfloat16`` keeps the weights of linear layers in bfloat16 and computes under
            autocast; norms and the residual stream stay in float32. A device without bfloat16 units
            uses ``float32`` instead.
        random_init: Use random weights, for tests.
        standardize: Give each channel of a layer mean 0 and variance 1 over the tokens of the
            batch, for teachers whose features are large and nearly constant. Then predicting the
            mean costs 1 (L2). The papers do not.
        layer_norm: Give each token mean 0 and variance 1 over its channels (an option of MVD; UMT).

    Raises:
        ConfigError: If there is neither a checkpoint nor ``random_init``, or both; or if a layer is
            not one of the blocks.
    """

    def __init__(
        self,
        backbone: dict,
        layers: Sequence[int],
        checkpoint: str | None = None,
        dtype: str = 'float32',
        random_init: bool = False,
        standardize: bool = False,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        check_weights(checkpoint, random_init, 'a pre-trained VideoMAE, MAE, AMD or MMAction2 file')
        self.dtype = choose_dtype(dtype)
        self.standardize = standardize
        self.layer_norm = layer_norm
        self.layers = list(layers)
        self.backbone = build_stopped(backbone, self.layers, checkpoint, self.dtype)
        self.freeze()

    @property
    def embed_dims(self) -> int:  # type: ignore[override]
        """Width of the teacher."""
        return self.backbone.embed_dims

    def set_student(self, student: Any, mean: Tensor, std: Tensor) -> None:
        """Require that the student cuts its clips into the same tokens."""
        check_same_tokens(student, self.backbone)

    @torch.no_grad()
    def forward(self, patches: Tensor, token_ids: Tensor | None = None) -> list[Tensor]:
        """The teacher's features.

        Args:
            patches: (B, N, P), all patches of the clip.
            token_ids: (B, K), int64, the tokens it sees; all by default.

        Returns:
            (B, E + K, C) for each layer, float32, before any norm of the backbone, E class tokens
            first.
        """
        with bf16_autocast(patches.device, self.dtype == torch.bfloat16):
            encoded = self.backbone.encode(patches, token_ids, layers=self.layers, stop_early=True)
        return [self.normalised(layer.float()) for layer in encoded.layers]


@MODELS.register_module()
class RelationTeacher(FrozenTeacher):
    """A frozen encoder of which one block is the student's target, TinyMIM.

    With other heads the same weights give other relations, and no checkpoint stores the number of
    heads. The last block of a TinyMIM student was trained with its teacher's heads: the paper keeps
    these (16 of a ViT-B that learnt from MAE ViT-L) when it becomes the next teacher, the released
    code uses 12.

    Args:
        backbone: Config of a backbone with ``query_key_value``. Its drop path stays on in training.
        block: The target block, counted from 1.
        num_heads: Heads of the block's query, key and value; for token relations only.
    """

    def __init__(
        self,
        backbone: dict,
        block: int,
        num_heads: int | None = None,
        checkpoint: str | None = None,
        dtype: str = 'float32',
        random_init: bool = False,
    ) -> None:
        super().__init__(backbone, [block], checkpoint, dtype, random_init)
        self.num_heads = num_heads

    def train(self, mode: bool = True) -> 'RelationTeacher':
        """Stay in evaluation mode except for drop path."""
        super().train(False)
        for module in self.modules():
            if isinstance(module, DropPath):
                module.train(mode)
        return self

    @torch.no_grad()
    def query_key_value(self, patches: Tensor, token_ids: Tensor | None = None) -> Tensor:
        """Query, key and value of the target block: (3, B, H, E + K, d). See :meth:`forward`."""
        with bf16_autocast(patches.device, self.dtype == torch.bfloat16):
            return self.backbone.query_key_value(
                patches, self.layers[-1], token_ids, self.num_heads
            )


@MODELS.register_module()
class FrozenClassifier(Teacher):
    """A frozen classifier whose predictions a student learns.

    Args:
        classifier: Config of an ``mmpretrain.ImageClassifier``.
        checkpoint: File of the weights, of any known format.
        random_init: Use random weights, for tests.

    Raises:
        ConfigError: If there is neither a checkpoint nor ``random_init``, or both.
    """

    def __init__(
        self, classifier: dict, checkpoint: str | None = None, random_init: bool = False
    ) -> None:
        super().__init__()
        check_weights(checkpoint, random_init, 'a fine-tuned classifier')
        self.classifier = MODELS.build(classifier)
        if checkpoint is None:
            self.classifier.init_weights()
        else:
            from amd_mm.checkpoints import load_into

            remedy = 'Give a file with every weight of teacher.classifier.'
            load_into(self.classifier, checkpoint, remedy=remedy)
        self.freeze()

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.classifier.head.num_classes

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Logits of images: (B, C, H, W) -> (B, classes), float32."""
        return self.classifier(images, mode='tensor').float()


def build_stopped(cfg: dict, layers: list[int], checkpoint: str | None, dtype: torch.dtype) -> Any:
    """Build a teacher's backbone without the blocks after the last of ``layers``.

    Without a checkpoint its weights are random. Linear layers have the given dtype.
    """
    backbone: Any = MODELS.build(cfg)
    if layers[-1] > backbone.depth:
        raise ConfigError(
            f'layer_pairs names block {layers[-1]} of the teacher, the blocks of '
            f'teacher.backbone are from 1 to {backbone.depth}'
        )
    check_layers(layers, backbone.depth)
    if checkpoint is None:
        backbone.init_weights()
    else:
        from amd_mm.checkpoints import load_encoder

        load_encoder(
            backbone,
            checkpoint,
            allow_missing=backbone.closing_norms,
            remedy='Give a file with every weight of teacher.backbone except the final norm.',
        )
    del backbone.blocks[layers[-1] :]
    return cast_linear_layers(backbone, dtype)


def cast_linear_layers(model: Any, dtype: torch.dtype) -> Any:
    """Keep the weights of linear layers in a dtype, in place."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.to(dtype)
    return model


@torch.no_grad()
def copy_from_teacher(student: Any, teacher: Any) -> None:
    """Initialise a student's backbone with a teacher's: evenly spaced blocks, first channels.

    A ViT-S takes every second block of a ViT-L, of each its first six heads and first channels, as
    weight selection does (arXiv 2311.18823, with other channels).

    Raises:
        ConfigError: If the teacher has fewer blocks or channels, or other parameters.
    """
    theirs = dict(teacher.named_parameters())
    for name, parameter in student.named_parameters():
        source = re.sub(
            r'(?<=^blocks\.|^layers\.)\d+',
            lambda match: str((int(match[0]) + 1) * teacher.depth // student.depth - 1),
            name,
        )
        value = theirs.get(source)
        if value is None or any(a > b for a, b in zip(parameter.shape, value.shape)):
            raise ConfigError(
                f'init_from_teacher: the teacher has no {source} of at least '
                f'{tuple(parameter.shape)}: it needs the blocks and channels that it is used for'
            )
        if '.qkv.' in name:  # query, key and value have heads of their own
            value = torch.cat([one[: len(parameter) // 3] for one in value.chunk(3)])
        parameter.copy_(value[tuple(map(slice, parameter.shape))])


def teacher_configs(model: dict) -> list[dict]:
    """Configs of the teachers in a model's config."""
    teacher = model.get('teacher') or {}
    return [teacher] if 'type' in teacher else list(teacher.values())


def randomize_teachers(model: dict) -> None:
    """Give the teachers in a model's config random weights, in place: no file is read."""
    for teacher in teacher_configs(model):
        teacher.pop('checkpoint', None)
        teacher['random_init'] = True


def standardize_channels(tokens: Tensor) -> Tensor:
    """Mean 0 and variance 1 of each channel of (B, K, C)."""
    deviation, mean = torch.std_mean(tokens, dim=(0, 1))  # -> (C,)
    return (tokens - mean) / (deviation + 1e-6)


def check_weights(checkpoint: str | None, random_init: bool, example: str) -> None:
    """Require exactly one of a checkpoint and random weights."""
    if (checkpoint is None) != random_init:
        raise ConfigError(
            f'the teacher needs weights: set teacher.checkpoint to {example}. (random_init=True is '
            f'for tests.) Got checkpoint={checkpoint!r}, random_init={random_init}'
        )


def check_same_tokens(student: Any, teacher: Any) -> None:
    """Require that two backbones cut their inputs into the same tokens."""
    for name in ('token_grid', 'patch_shape', 'in_channels', 'num_extra_tokens'):
        mine, its = getattr(student, name), getattr(teacher, name)
        if mine != its:
            raise ConfigError(
                f'teacher and student must have the same tokens: {name} is {its} in '
                f'teacher.backbone and {mine} in backbone'
            )


def choose_dtype(name: str) -> torch.dtype:
    """The teacher's dtype on the device that MMEngine trains on."""
    if name not in DTYPES:
        raise ConfigError(f'teacher.dtype must be one of {list(DTYPES)}, got {name!r}')
    device = get_device()
    if name == 'bfloat16' and not supports_fast_bf16(device):
        print_log(
            f'The teacher runs in float32: {device} has no bfloat16 units, so bfloat16 is slower',
            logger='current',
        )
        return torch.float32
    return DTYPES[name]
