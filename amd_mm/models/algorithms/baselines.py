"""Baselines of the DMAE paper: alignment in MoCo v3, and distillation in fine-tuning.

They add a frozen teacher to a model of MMPretrain, whose arguments keep their meaning.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.selfsup import MoCoV3
from torch import Tensor, nn

from ..mask_generators import TokenPartition
from ..teachers import TeacherMixin
from .amd import build_neck, split_layer_pairs


class FeatureAlignmentMixin(TeacherMixin):
    """Aligns the features of a ViT of MMPretrain with a teacher's, on all tokens.

    The features are collected while the model computes its own loss. List the mixin before the
    model's base class.

    Args:
        teacher: Config of the :class:`FrozenTeacher`. Its checkpoint may be that of a fine-tuned
            classifier.
        alignment: Config of a neck that aligns visible tokens, such as :class:`DirectAlignment`.
        layer_pairs: See :class:`AMD`.
        alignment_weight: Weight of the alignment, which is averaged over the layer pairs.
        **model: Arguments of the model's base class.

    Raises:
        ConfigError: If a block does not exist, or teacher and student have other tokens.
    """

    backbone: Any

    def __init__(
        self,
        teacher: dict,
        alignment: dict,
        layer_pairs: Sequence[tuple[int, int]],
        alignment_weight: float = 1.0,
        **model: Any,
    ) -> None:
        super().__init__(**model)
        self.student_layers, teacher_layers = split_layer_pairs(layer_pairs)
        self.set_teacher(MODELS.build(dict(teacher, layers=teacher_layers)))
        self.alignment_weight = alignment_weight
        self.alignment = build_neck(alignment, self.backbone, self.teacher, len(layer_pairs))
        self._check()

    def _check(self) -> None:
        last, depth = self.student_layers[-1], self.backbone.num_layers
        if last > depth:
            raise ConfigError(f'layer_pairs names student block {last}, the backbone has {depth}')
        student_tokens = tuple(self.backbone.patch_resolution), self.backbone.num_extra_tokens
        encoder = self.teacher.backbone
        teacher_tokens = encoder.token_grid[1:], encoder.num_extra_tokens
        if student_tokens != teacher_tokens:
            raise ConfigError(
                'teacher and student must have the same tokens, (rows, columns) and class tokens: '
                f'teacher.backbone has {teacher_tokens}, backbone has {student_tokens}'
            )

    def loss(self, inputs: Tensor | list[Tensor], data_samples: list) -> dict[str, Tensor]:
        """The model's own losses, and ``loss_direct``, of images or views (B, C, H, W)."""
        with self.collected_layers() as layers:
            losses = super().loss(inputs, data_samples)  # type: ignore[misc]
        images = inputs if isinstance(inputs, Tensor) else torch.cat(inputs)
        losses['loss_direct'] = self.alignment_loss(layers, images)
        return losses

    @contextmanager
    def collected_layers(self) -> Iterator[list[list[Tensor]]]:
        """Collect the student's layers: for each a list of (B, E + N, C), one for each call."""
        layers: list[list[Tensor]] = [[] for _ in self.student_layers]
        hooks = [
            self.backbone.layers[number - 1].register_forward_hook(append_output_to(calls))
            for number, calls in zip(self.student_layers, layers)
        ]
        try:
            yield layers
        finally:
            for hook in hooks:
                hook.remove()

    def alignment_loss(self, layers: list[list[Tensor]], images: Tensor) -> Tensor:
        """Compare the collected layers with the teacher's, weighted.

        Args:
            layers: From :meth:`collected_layers`.
            images: (B, C, H, W), normalised, all calls after each other.
        """
        patches = self.teacher.backbone.patchify(images)  # -> (B, N, P)
        ids = torch.arange(patches.shape[1], device=patches.device).expand(len(patches), -1)
        partition = TokenPartition(visible=ids, teacher_only=ids[:, :0], hidden=ids[:, :0])
        predicted = self.alignment([torch.cat(calls) for calls in layers], partition)
        values = self.alignment.loss(predicted, self.teacher(patches, ids))['direct']
        return self.alignment_weight * torch.stack(values).mean()


def append_output_to(calls: list[Tensor]) -> Callable:
    """A forward hook that keeps a module's output."""

    def append(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        calls.append(output)

    return append


@MODELS.register_module()
class AlignedMoCoV3(FeatureAlignmentMixin, MoCoV3):
    """MoCo v3 (ICCV 2021, arXiv 2104.02057) with the alignment of DMAE, on both views."""


@MODELS.register_module()
class AlignedClassifier(FeatureAlignmentMixin, ImageClassifier):
    """A classifier whose features are aligned with a teacher's in fine-tuning."""


@MODELS.register_module()
class LogitDistilledClassifier(TeacherMixin, ImageClassifier):
    """A classifier that also learns a teacher's predictions on the same images.

    Args:
        teacher: Config of the :class:`FrozenClassifier`.
        kind: ``soft``: KL divergence from the teacher's distribution. ``hard``: cross entropy with
            the teacher's most likely class.
        temperature: Divides the logits of ``soft``, whose loss is multiplied by its square.
        weight: Weight of the distillation.
        **classifier: Arguments of MMPretrain's ``ImageClassifier``.

    Raises:
        ConfigError: If the kind is unknown, the temperature is not above 0, or teacher and student
            have different numbers of classes.
    """

    head: Any
    extract_feat: Callable[..., Any]

    def __init__(
        self,
        teacher: dict,
        kind: str = 'soft',
        temperature: float = 1.0,
        weight: float = 1.0,
        **classifier: Any,
    ) -> None:
        super().__init__(**classifier)
        self.kind, self.temperature, self.weight = kind, temperature, weight
        self.set_teacher(MODELS.build(teacher))
        self._check()

    def _check(self) -> None:
        if self.kind not in ('soft', 'hard'):
            raise ConfigError(f"kind must be 'soft' or 'hard', got {self.kind!r}")
        if self.temperature <= 0:
            raise ConfigError(f'temperature must be above 0, got {self.temperature}')
        if self.teacher.num_classes != self.head.num_classes:
            raise ConfigError(
                'teacher and student must have the same classes: teacher.classifier.head has '
                f'{self.teacher.num_classes}, head has {self.head.num_classes}'
            )

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """The head's losses and ``loss_distillation`` of images (B, C, H, W)."""
        features = self.extract_feat(inputs)
        losses = self.head.loss(features, data_samples)
        logits, target = self.head(features).float(), self.teacher(inputs)  # (B, classes)
        losses['loss_distillation'] = self.weight * self._distance(logits, target)
        return losses

    def _distance(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.kind == 'hard':
            return F.cross_entropy(logits, target.argmax(1))
        return self.temperature**2 * F.kl_div(
            F.log_softmax(logits / self.temperature, 1),
            F.log_softmax(target / self.temperature, 1),
            reduction='batchmean',
            log_target=True,
        )
