"""Asymmetric Masked Distillation (CVPR 2024, arXiv 2311.03149)."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from torch import Tensor, nn

from ..mask_generators import TokenPartition
from ..necks import Aligned, AlignmentNeck
from ..teachers import TeacherMixin, check_same_tokens
from ..utils import compile_blocks as compile_in_place
from .masked_autoencoder import MaskedAutoencoder


@MODELS.register_module()
class AMD(TeacherMixin, MaskedAutoencoder):
    """A masked autoencoder that also learns a frozen teacher's features.

    The teacher sees more of the clip than the student. The student reconstructs the pixels that it
    does not see, and predicts the teacher's features at several depths: on the tokens that both see
    (*direct*), and through a small generator on those that only the teacher sees (*generation*).
    The loss is the weighted sum of the three (equation 8).

    With equal mask ratios and a direct neck this is DMAE (CVPR 2023). Alignment losses are averaged
    over the layer pairs; where DMAE sums them, set ``direct_weight`` to the number of pairs.

    Arguments that are not listed here are those of :class:`MaskedAutoencoder`.

    Args:
        teacher: Config of the :class:`FrozenTeacher`.
        neck: Config of the alignment neck; sizes and position table are inferred.
        layer_pairs: Pairs (block of the student, block of the teacher) to align, counted from 1,
            rising on both sides.
        rec_weight: Weight of the reconstruction; 0 builds no decoder.
        direct_weight: Weight of direct alignment. 0 is possible with :class:`SerialAlignment`.
        generation_weight: Weight of generation alignment.

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
        layer_pairs: Sequence[tuple[int, int]],
        mask_generator: dict,
        decoder: dict | None = None,
        head: dict | None = None,
        rec_weight: float = 1.0,
        direct_weight: float = 1.0,
        generation_weight: float = 1.0,
        data_preprocessor: dict | None = None,
        compile_blocks: bool = False,
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
            init_cfg,
        )
        self.student_layers, teacher_layers = split_layer_pairs(layer_pairs)
        self.set_teacher(MODELS.build(dict(teacher, layers=teacher_layers)))
        self.neck = build_neck(neck, self.backbone, self.teacher, len(layer_pairs))
        self.loss_weights = dict(direct=direct_weight, generation=generation_weight)
        self._check()
        if compile_blocks:
            compile_in_place(self.neck, self.teacher)

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
            computed; and figures without gradient, see :meth:`alignment_loss` and :meth:`figures`.
        """
        patches = self.patches_of(inputs)  # -> (B, N, P)
        if partition is None:
            partition = self.draw_partition(patches)
        teacher_layers = self.teacher(patches, partition.teacher)  # -> (B, E + Kv + Ke, Ct) each
        student = self.backbone.encode(  # -> tokens and layers (B, E + Kv, Cs)
            patches, partition.visible, layers=self.student_layers, stop_early=not self.reconstructs
        )
        losses = dict()
        if self.reconstructs:
            losses['loss_rec'] = self.reconstruction_loss(student.tokens, patches, partition)
        predicted = self.neck(student.layers, partition)  # (B, E + Kv, Ct) and (B, Kg, Ct) each
        predicted = replace(  # without predictions whose weight is 0
            predicted,
            direct=predicted.direct if self.loss_weights['direct'] else None,
            generated=predicted.generated if self.loss_weights['generation'] else None,
        )
        losses.update(self.alignment_loss(predicted, teacher_layers))
        losses.update(self.figures(student.layers, predicted, teacher_layers))
        return losses

    def alignment_loss(self, predicted: Aligned, teacher_layers: list[Tensor]) -> dict[str, Tensor]:
        """Compare the neck's predictions with the teacher's layers.

        Returns:
            The weighted ``loss_direct`` and ``loss_generation``, averaged over the layer pairs; and
            the unweighted ``direct_layerK`` and ``generation_layerK`` of student block K.
        """
        losses = dict()
        for kind, values in self.neck.loss(predicted, teacher_layers).items():
            losses[f'loss_{kind}'] = self.loss_weights[kind] * torch.stack(values).mean()
            for layer, value in zip(self.student_layers, values):
                losses[f'{kind}_layer{layer}'] = value.detach()
        return losses

    @torch.no_grad()
    def figures(
        self, student_layers: list[Tensor], predicted: Aligned, teacher_layers: list[Tensor]
    ) -> dict[str, Tensor]:
        """Cheap figures that show whether distillation works.

        Returns:
            For student block K: ``cosine_layerK``, the mean cosine of predicted and true tokens of
            the teacher (visible ones if they are predicted, else generated ones); and the mean
            length of a token, ``norm_student_layerK`` and ``norm_teacher_layerK``.
        """
        figures = dict()
        for index, layer in enumerate(self.student_layers):
            target = teacher_layers[index]
            if predicted.direct is not None:
                prediction = predicted.direct[index].float()
                target = target[:, : prediction.shape[1]]
            else:
                assert predicted.generated is not None
                prediction = predicted.generated[index].float()
                target = target[:, -prediction.shape[1] :]
            cosine = F.cosine_similarity(prediction, target, dim=-1)
            figures[f'cosine_layer{layer}'] = cosine.mean()
            student_norm = student_layers[index].float().norm(dim=-1)
            figures[f'norm_student_layer{layer}'] = student_norm.mean()
            figures[f'norm_teacher_layer{layer}'] = target.norm(dim=-1).mean()
        return figures

    def _check(self) -> None:
        student, teacher = self.backbone, self.teacher.backbone
        last = self.student_layers[-1]
        if last > student.depth:
            raise ConfigError(
                f'layer_pairs names student block {last}, the backbone has {student.depth}'
            )
        if not self.reconstructs and last < student.depth:
            raise ConfigError(
                f'without reconstruction (rec_weight=0) no loss trains the blocks after student '
                f'block {last}, the last one in layer_pairs: pair block {student.depth}, or set '
                f'backbone.depth={last}'
            )
        check_same_tokens(student, teacher)
        neck = type(self.neck).__name__
        if self.neck.aligns_teacher_only and not self.token_counts()['teacher_only']:
            raise ConfigError(
                f'{neck} aligns tokens that only the teacher sees, and equal mask ratios leave '
                'none: lower teacher_ratio or use amd_mm.DirectAlignment'
            )
        aligns = dict(direct=self.neck.aligns_visible, generation=self.neck.aligns_teacher_only)
        for kind, weight in self.loss_weights.items():
            if aligns[kind] and not weight and kind not in self.neck.optional_losses:
                raise ConfigError(
                    f'{kind}_weight=0 leaves parameters of {neck} untrained: use '
                    'amd_mm.DirectAlignment or amd_mm.GenerationAlignment for one of the losses, '
                    'or amd_mm.MaskedAutoencoder for neither'
                )


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
    """Build an alignment neck for a student backbone and a :class:`FrozenTeacher`.

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
