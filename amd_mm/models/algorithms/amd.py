"""Asymmetric Masked Distillation (CVPR 2024, arXiv 2311.03149), from one teacher or several."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmengine.model import ModuleDict
from torch import Tensor, nn

from ..mask_generators import TokenPartition
from ..necks import Aligned, AlignmentNeck
from ..teachers import TeacherMixin, copy_from_teacher
from ..utils import checkpoint_blocks
from ..utils import compile_blocks as compile_in_place
from .masked_autoencoder import MaskedAutoencoder

LayerPairs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Lesson:
    """Settings of what the student learns from one teacher.

    Attributes:
        student_layers: The student's blocks in the layer pairs, rising.
        teacher_layers: The teacher's.
        weights: Of the losses ``direct`` and ``generation``.
        teacher_ratio: Share of cells masked for this teacher; None: the mask generator's.
    """

    student_layers: list[int]
    teacher_layers: list[int]
    weights: dict[str, float]
    teacher_ratio: float | None


@MODELS.register_module()
class AMD(TeacherMixin, MaskedAutoencoder):
    """A masked autoencoder that also learns a frozen teacher's features.

    The teacher sees more of the clip than the student. The student reconstructs the pixels that it
    does not see, and predicts the teacher's features at several depths: on the tokens that both see
    (*direct*), and through a small generator on those that only the teacher sees (*generation*).
    The loss is the weighted sum of the three (equation 8).

    With equal mask ratios and a direct neck this is DMAE (CVPR 2023). Alignment losses are averaged
    over the layer pairs; where DMAE sums them, set ``direct_weight`` to the number of pairs.

    There may be several teachers: ``teacher`` is then a dict of their names and configs. ``neck``
    and the arguments after it marked with * may be such a dict, too, or one value for all. The
    losses of all teachers are added; names of losses and figures end in ``_`` and the teacher's
    name. Two teachers that see everything, a :class:`MaskedTokenDecoder` for each and no
    reconstruction are MVD (CVPR 2023).

    Arguments that are not listed here are those of :class:`MaskedAutoencoder`.

    Args:
        teacher: Config of the :class:`FrozenTeacher` or another :class:`Teacher`.
        neck: Config of the alignment neck; sizes and position table are inferred.
        layer_pairs: * Pairs (block of the student, block of the teacher) to align, counted from 1,
            rising on both sides.
        rec_weight: Weight of the reconstruction; 0 builds no decoder.
        direct_weight: * Weight of direct alignment. 0 is possible with :class:`SerialAlignment`.
        generation_weight: * Weight of generation alignment.
        teacher_ratio: * Share of the clip masked for a teacher, if not the mask generator's.
        init_from_teacher: Name of the teacher (``True`` if there is only one) whose weights
            initialise the student, see :func:`amd_mm.models.teachers.copy_from_teacher`.

    Raises:
        ConfigError: If layer pairs, teacher and student, or weights, neck and mask ratios
            contradict each other.
    """

    has_other_losses = True

    def __init__(
        self,
        backbone: dict,
        teacher: dict,
        neck: dict,
        layer_pairs: LayerPairs | dict[str, LayerPairs],
        mask_generator: dict,
        decoder: dict | None = None,
        head: dict | None = None,
        rec_weight: float = 1.0,
        direct_weight: float | dict[str, float] = 1.0,
        generation_weight: float | dict[str, float] = 1.0,
        teacher_ratio: float | dict[str, float | None] | None = None,
        init_from_teacher: bool | str = False,
        data_preprocessor: dict | None = None,
        compile_blocks: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            backbone,
            mask_generator,
            decoder,
            head,
            rec_weight,
            data_preprocessor,
            compile_blocks,
            with_cp,
            init_cfg,
        )
        self.lessons = build_lessons(
            teacher, layer_pairs, direct_weight, generation_weight, teacher_ratio
        )
        self.student_layers = sorted(
            {number for lesson in self.lessons.values() for number in lesson.student_layers}
        )
        teachers, necks = dict(), dict()
        for name, lesson in self.lessons.items():
            cfg = teacher[name] if name else teacher
            teachers[name] = MODELS.build(dict(cfg, layers=lesson.teacher_layers))
            teachers[name].set_student(self.backbone, *self.pixel_stats())
            cfg = per_teacher('neck', neck, self.lessons)[name]
            pairs = len(lesson.student_layers)
            necks[name] = build_neck(cfg, self.backbone, teachers[name], pairs)
        single = '' in self.lessons
        self.set_teacher(teachers[''] if single else nn.ModuleDict(teachers))
        self.neck = necks[''] if single else ModuleDict(necks)
        self.reads_tokens = self.reconstructs or any(neck.reads_tokens for neck in necks.values())
        if not self.reads_tokens:  # DDP waits for every trainable parameter
            self.backbone.norm.requires_grad_(False)
        self.init_from_teacher = init_from_teacher
        self._check()
        if with_cp:
            checkpoint_blocks(self.neck)
        if compile_blocks:
            compile_in_place(self.neck, self.teacher)

    def init_weights(self) -> None:
        """Initialise; the student from a teacher with ``init_from_teacher``."""
        super().init_weights()
        if self.init_from_teacher:
            teachers = self._by_name(self.teacher)
            name = self.init_from_teacher if isinstance(self.init_from_teacher, str) else ''
            copy_from_teacher(self.backbone, teachers[name].backbone)

    def loss(
        self,
        inputs: Tensor,
        data_samples: list | None = None,
        partition: TokenPartition | None = None,
    ) -> dict[str, Tensor]:
        """The training loss, equation 8.

        Args:
            inputs: See :class:`MaskedAutoencoder`.
            data_samples: Ignored.
            partition: Which tokens are seen; drawn by default.

        Returns:
            The weighted ``loss_rec``, ``loss_direct`` and ``loss_generation``, as far as they are
            computed; and figures without gradient, see :func:`alignment_loss` and :func:`figures`.
        """
        patches = self.patches_of(inputs)  # -> (B, N, P)
        if partition is None:
            partition = self.draw_partition(patches)
        seen = {name: self.seen_by(lesson, partition) for name, lesson in self.lessons.items()}
        targets = {  # -> (B, E + Kv + Ke, Ct) for each layer
            name: teacher(patches, seen[name].teacher)
            for name, teacher in self._by_name(self.teacher).items()
        }
        student = self.backbone.encode(  # -> tokens and layers (B, E + Kv, Cs)
            patches, partition.visible, layers=self.student_layers, stop_early=not self.reads_tokens
        )
        losses = dict()
        if self.reconstructs:
            losses['loss_rec'] = self.reconstruction_loss(student.tokens, patches, partition)
        for name, neck in self._by_name(self.neck).items():
            lesson = self.lessons[name]
            layers = [student.layers[self.student_layers.index(n)] for n in lesson.student_layers]
            if neck.reads_tokens:
                layers = [student.tokens]
            predicted = neck(layers, seen[name])  # (B, E + Kv, Ct) and (B, Kg, Ct) each
            predicted = replace(  # without predictions whose weight is 0
                predicted,
                direct=predicted.direct if lesson.weights['direct'] else None,
                generated=predicted.generated if lesson.weights['generation'] else None,
            )
            values = alignment_loss(neck, lesson, predicted, targets[name])
            values.update(figures(lesson, layers, predicted, targets[name]))
            losses.update({f'{key}_{name}' if name else key: one for key, one in values.items()})
        return losses

    def seen_by(self, lesson: Lesson, partition: TokenPartition) -> TokenPartition:
        """The partition for a teacher, of the same student's tokens."""
        if lesson.teacher_ratio is None:
            return partition
        grid = self.backbone.token_grid
        return self.mask_generator.for_teacher(partition, lesson.teacher_ratio, grid)

    def _by_name(self, modules: Any) -> dict[str, Any]:
        """Teachers or necks by the teacher's name; a single one is called ``''``."""
        return {'': modules} if '' in self.lessons else dict(modules.items())

    def _check(self) -> None:
        student = self.backbone
        last = self.student_layers[-1]
        if last > student.depth:
            raise ConfigError(
                f'layer_pairs names student block {last}, the backbone has {student.depth}'
            )
        if not self.reads_tokens and last < student.depth:
            raise ConfigError(
                f'without reconstruction (rec_weight=0) no loss trains the blocks after student '
                f'block {last}, the last one in layer_pairs: pair block {student.depth}, or set '
                f'backbone.depth={last}'
            )
        if self.reads_tokens:
            student.check_decodable()
        if self.init_from_teacher not in (False, *(name or True for name in self.lessons)):
            raise ConfigError(
                f'init_from_teacher={self.init_from_teacher!r} must be False or one of '
                f'{[name or True for name in self.lessons]}'
            )
        for name, neck in self._by_name(self.neck).items():
            self._check_lesson(self.lessons[name], neck)

    def _check_lesson(self, lesson: Lesson, module: AlignmentNeck) -> None:
        neck, depth = type(module).__name__, self.backbone.depth
        if module.reads_tokens and lesson.student_layers != [depth]:
            raise ConfigError(
                f"{neck} reads the student's tokens after block {depth}, the last one: layer_pairs "
                f'must name it, not {lesson.student_layers}'
            )
        counts = self.mask_generator.counts(self.backbone.token_grid, lesson.teacher_ratio)
        if module.aligns_teacher_only and not counts['teacher_only']:
            raise ConfigError(
                f'{neck} aligns tokens that only the teacher sees, and equal mask ratios leave '
                'none: lower teacher_ratio or use amd_mm.DirectAlignment'
            )
        aligns = dict(direct=module.aligns_visible, generation=module.aligns_teacher_only)
        for kind, weight in lesson.weights.items():
            if aligns[kind] and not weight and kind not in module.optional_losses:
                raise ConfigError(
                    f'{kind}_weight=0 leaves parameters of {neck} untrained: use '
                    'amd_mm.DirectAlignment or amd_mm.GenerationAlignment for one of the losses, '
                    'or amd_mm.MaskedAutoencoder for neither'
                )


def alignment_loss(
    neck: AlignmentNeck, lesson: Lesson, predicted: Aligned, teacher_layers: list[Tensor]
) -> dict[str, Tensor]:
    """Compare a neck's predictions with the teacher's layers.

    Returns:
        The weighted ``loss_direct`` and ``loss_generation``, averaged over the layer pairs; and the
        unweighted ``direct_layerK`` and ``generation_layerK`` of student block K.
    """
    losses = dict()
    for kind, values in neck.loss(predicted, teacher_layers).items():
        losses[f'loss_{kind}'] = lesson.weights[kind] * torch.stack(values).mean()
        for layer, value in zip(lesson.student_layers, values):
            losses[f'{kind}_layer{layer}'] = value.detach()
    return losses


@torch.no_grad()
def figures(
    lesson: Lesson, student_layers: list[Tensor], predicted: Aligned, teacher_layers: list[Tensor]
) -> dict[str, Tensor]:
    """Cheap figures that show whether distillation works.

    Returns:
        For student block K: ``cosine_layerK``, the mean cosine of predicted and true tokens of the
        teacher (visible ones if they are predicted, else generated ones); and the mean length of a
        token, ``norm_student_layerK`` and ``norm_teacher_layerK``.
    """
    found = dict()
    for index, layer in enumerate(lesson.student_layers):
        target = teacher_layers[index]
        if predicted.direct is not None:
            prediction = predicted.direct[index].float()
            target = target[:, : prediction.shape[1]]
        else:
            assert predicted.generated is not None
            prediction = predicted.generated[index].float()
            target = target[:, -prediction.shape[1] :]
        found[f'cosine_layer{layer}'] = F.cosine_similarity(prediction, target, dim=-1).mean()
        found[f'norm_student_layer{layer}'] = student_layers[index].float().norm(dim=-1).mean()
        found[f'norm_teacher_layer{layer}'] = target.norm(dim=-1).mean()
    return found


def build_lessons(
    teacher: dict,
    layer_pairs: LayerPairs | dict[str, LayerPairs],
    direct_weight: float | dict[str, float],
    generation_weight: float | dict[str, float],
    teacher_ratio: float | dict[str, float | None] | None,
) -> dict[str, Lesson]:
    """Sort the arguments of :class:`AMD` by teacher; a single one is called ``''``."""
    names = [''] if 'type' in teacher else list(teacher)
    pairs = per_teacher('layer_pairs', layer_pairs, names)
    direct = per_teacher('direct_weight', direct_weight, names)
    generation = per_teacher('generation_weight', generation_weight, names)
    ratios = per_teacher('teacher_ratio', teacher_ratio, names)
    return {
        name: Lesson(
            *split_layer_pairs(pairs[name]),
            weights=dict(direct=direct[name], generation=generation[name]),
            teacher_ratio=ratios[name],
        )
        for name in names
    }


def per_teacher(key: str, value: Any, names: Iterable[str]) -> dict[str, Any]:
    """A value for each teacher, from a dict with their names or one value for all.

    Raises:
        ConfigError: If the dict has other names.
    """
    if not isinstance(value, dict) or 'type' in value:
        return dict.fromkeys(names, value)
    if set(value) != set(names):
        raise ConfigError(
            f'{key} names the teachers {sorted(value)}, teacher names {sorted(names)}: give a '
            'value for each, or one for all'
        )
    return value


def split_layer_pairs(pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Split [(6, 12), (12, 24)] into the student's [6, 12] and the teacher's [12, 24].

    Raises:
        ConfigError: If these are not pairs of block numbers, rising on both sides.
    """
    if not pairs or not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in pairs):
        raise ConfigError(
            'layer_pairs must be a list of (student block, teacher block), such as '
            f'[(6, 12), (12, 24)]; got {pairs}'
        )
    student, teacher = map(list, zip(*pairs))
    for side, layers in (('student', student), ('teacher', teacher)):
        if layers[0] < 1 or any(a >= b for a, b in itertools.pairwise(layers)):
            raise ConfigError(
                f'layer_pairs must name rising blocks, counted from 1; those of the {side} are '
                f'{layers}'
            )
    return student, teacher


def build_neck(cfg: dict, student: nn.Module, teacher: nn.Module, num_pairs: int) -> AlignmentNeck:
    """Build an alignment neck for a student backbone and a :class:`Teacher`.

    Raises:
        ConfigError: If it is not an alignment neck.
    """
    neck = MODELS.get(cfg['type'])
    if neck is None or not issubclass(neck, AlignmentNeck):
        raise ConfigError(
            f'neck.type={cfg["type"]} must be a subclass of amd_mm.models.necks.AlignmentNeck; '
            'docs/extending.md has an example'
        )
    sizes = dict(
        student_dims=student.embed_dims, teacher_dims=teacher.embed_dims, num_pairs=num_pairs
    )
    if neck.aligns_teacher_only:
        sizes.update(grid=student.token_grid, pos_embed_type=student.pos_embed_type)
    return MODELS.build(dict(cfg, **sizes))
