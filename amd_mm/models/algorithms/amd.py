import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from amd_mm.registry import MODELS
from torch import Tensor

from .. import utils
from ..mask_generators import TokenPartition
from ..necks import Aligned, AlignmentNeck
from ..teachers import CarriesTeacher
from .masked_autoencoder import MaskedAutoencoder


@MODELS.register_module()
class AMD(CarriesTeacher, MaskedAutoencoder):
    """Asymmetric Masked Distillation (CVPR 2024, arXiv 2311.03149).

    A frozen teacher sees more of the clip than the student. The student
    reconstructs the pixels that it does not see, and matches the teacher's
    features at several depths: on the tokens that both see (*direct*), and
    through a small generator on those that only the teacher sees
    (*generation*). The loss is the weighted sum of the three (equation 8).

    With equal ratios and a direct neck this is DMAE (CVPR 2023). Class tokens
    of an image backbone count as seen by both. The losses are averaged over
    the layers: where DMAE sums, ``direct_weight`` is the number of pairs.

    The teacher is no sub-module: it is in no ``state_dict``, optimiser,
    DistributedDataParallel or EMA. ``.to()`` reaches it.

    Args:
        backbone (dict): Config of the student.
        teacher (dict): Config of the :class:`FrozenTeacher`.
        neck (dict): Config of the alignment neck; widths, grid and position
            table are inferred.
        layer_pairs (Sequence[Tuple[int, int]]): Pairs (block of the student,
            block of the teacher) to align, counted from 1, rising on both
            sides.
        mask_generator (dict): Config of the generator of partitions.
        decoder (dict, optional): See :class:`MaskedAutoencoder`.
        head (dict, optional): See :class:`MaskedAutoencoder`.
        rec_weight (float): Weight of the reconstruction; 0 builds no decoder.
        direct_weight (float): Weight of direct alignment; 0, with a neck
            that trains without (:class:`SerialAlignment`), leaves this loss
            and its figures out.
        generation_weight (float): Weight of generation alignment.
        data_preprocessor (dict): See :class:`MaskedAutoencoder`.
        compile_blocks (bool): See :class:`MaskedAutoencoder`.
        init_cfg (dict | List[dict], optional): Initialisation.

    Raises:
        ValueError: If layer pairs do not fit the depths, teacher and student cut
            the clip differently or only one of them has a class token, or
            weights, neck and ratios contradict each other.
    """

    learns_otherwise = True

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
        self.loss_weights = dict(direct=direct_weight, generation=generation_weight)
        self._check_student_layers()
        self.carry(MODELS.build(dict(teacher, layers=teacher_layers)))
        self._check_patches()
        self.neck = MODELS.build(self._complete_neck(neck))
        self._check_losses()
        if compile_blocks:
            utils.compile_blocks(self.neck, self.teacher)

    def _complete_neck(self, neck: dict) -> dict:
        neck = dict(
            neck,
            student_dims=self.backbone.embed_dims,
            teacher_dims=self.teacher.embed_dims,
            num_pairs=len(self.student_layers),
        )
        if getattr(MODELS.get(neck['type']), 'aligns_teacher_only', False):
            neck.update(grid=self.backbone.token_grid, pos_embed_type=self.backbone.pos_embed_type)
        return neck

    def _check_student_layers(self) -> None:
        depth, layers = self.backbone.depth, self.student_layers
        if layers[-1] > depth:
            raise ValueError(
                f'layer_pairs name student block {layers[-1]}, the '
                f'backbone has {depth}: choose one of these, or a deeper '
                'backbone'
            )
        if not self.reconstructs and layers[-1] < depth:
            raise ValueError(
                f'without reconstruction (rec_weight=0) nothing trains the '
                f"student's blocks after its last layer {layers[-1]}: layer block "
                f'{depth}, or set backbone.depth={layers[-1]}'
            )

    def _check_patches(self) -> None:
        mine, theirs = self.backbone, self.teacher.backbone
        for name in ('token_grid', 'patch_shape', 'in_channels'):
            if getattr(mine, name) != getattr(theirs, name):
                raise ValueError(
                    f'teacher and student must cut the clip alike: {name} is '
                    f'{getattr(theirs, name)} in teacher.backbone and '
                    f'{getattr(mine, name)} in backbone'
                )
        if mine.num_extra_tokens != theirs.num_extra_tokens:
            raise ValueError(
                'teacher and student must both have a class token or both '
                f'have none: teacher.backbone has {theirs.num_extra_tokens}, '
                f'backbone has {mine.num_extra_tokens}; set with_cls_token '
                'of one of them'
            )

    def _check_losses(self) -> None:
        if not isinstance(self.neck, AlignmentNeck):
            raise ValueError(
                f'neck.type={type(self.neck).__name__} is no subclass of '
                'amd_mm.models.necks.AlignmentNeck, which says what a neck '
                'aligns; docs/extending.md has an example'
            )
        aligns = dict(direct=self.neck.aligns_visible, generation=self.neck.aligns_teacher_only)
        name = type(self.neck).__name__
        if aligns['generation'] and not self.token_counts()['teacher_only']:
            raise ValueError(
                f'{name} aligns tokens that only the teacher sees, and equal '
                'mask ratios leave none: lower teacher_ratio or use '
                'amd_mm.DirectAlignment'
            )
        for kind, weight in self.loss_weights.items():
            if not aligns[kind] or weight:
                continue
            if kind not in self.neck.trains_without:
                raise ValueError(
                    f'{kind}_weight=0 with {name} builds what is never '
                    'trained: choose amd_mm.DirectAlignment or '
                    'amd_mm.GenerationAlignment for one of the two, or '
                    'amd_mm.MaskedAutoencoder for neither'
                )

    def loss(
        self,
        inputs: Tensor,
        data_samples: list | None = None,
        partition: TokenPartition | None = None,
    ) -> dict[str, Tensor]:
        """The training loss, equation 8.

        Args:
            inputs (Tensor): Normalised clips, (B, V, C, T, H, W) or (B, C, T,
                H, W), or images, (B, C, H, W), see
                :meth:`MaskedAutoencoder.patches_of`.
            data_samples (list, optional): Not used: no labels are needed.
            partition (TokenPartition, optional): Who sees what; drawn by the
                mask generator by default.

        Returns:
            Dict[str, Tensor]: Scalars: weighted ``loss_rec``, ``loss_direct``
            and ``loss_generation`` as far as they are computed; unweighted
            ``direct_layerK`` and ``generation_layerK`` for student block K; and
            health figures without gradient, see :meth:`health`.
        """
        patches = self.patches_of(inputs)
        if partition is None:
            partition = self.draw_partition(patches)
        teacher_layers = self.teacher(patches, partition.teacher)
        student = self.backbone.encode(
            patches, partition.visible, layers=self.student_layers, stop_early=not self.reconstructs
        )
        losses = dict()
        if self.reconstructs:
            losses['loss_rec'] = self.reconstruction_loss(student.tokens, patches, partition)
        predicted = self.weighted(self.neck(student.layers, partition))
        losses.update(self.alignment_loss(predicted, teacher_layers))
        losses.update(self.health(student.layers, predicted, teacher_layers))
        return losses

    def weighted(self, predicted: Aligned) -> Aligned:
        """Leave out predictions whose loss has a weight of 0.

        They are not trained to be like the teacher's features, so figures of
        them would say nothing about the distillation.

        Args:
            predicted (Aligned): All that the neck predicts.

        Returns:
            Aligned: What is compared with the teacher.
        """
        kinds = dict(direct='direct', generation='generated')
        left_out = [kinds[k] for k, w in self.loss_weights.items() if not w]
        return replace(predicted, **dict.fromkeys(left_out))

    def alignment_loss(self, predicted: Aligned, teacher_layers: list[Tensor]) -> dict[str, Tensor]:
        """Average the neck's losses over the layers, and weight them.

        Args:
            predicted (Aligned): What the neck predicts of the teacher.
            teacher_layers (List[Tensor]): (B, E + Kv + Ke, Ct) each, the
                visible tokens first.

        Returns:
            Dict[str, Tensor]: Scalars: weighted ``loss_direct`` and
            ``loss_generation`` as far as the neck predicts them; unweighted,
            without gradient, ``direct_layerK`` and ``generation_layerK`` for
            student block K.
        """
        losses = dict()
        for kind, values in self.neck.loss(predicted, teacher_layers).items():
            mean = torch.stack(values).mean()
            losses[f'loss_{kind}'] = self.loss_weights[kind] * mean
            for layer, value in zip(self.student_layers, values):
                losses[f'{kind}_layer{layer}'] = value.detach()
        return losses

    @torch.no_grad()
    def health(
        self, student_layers: list[Tensor], predicted: Aligned, teacher_layers: list[Tensor]
    ) -> dict[str, Tensor]:
        """Cheap figures that tell whether distillation is healthy.

        Args:
            student_layers (List[Tensor]): (B, E + Kv, Cs) each.
            predicted (Aligned): What the neck predicts of the teacher.
            teacher_layers (List[Tensor]): (B, E + Kv + Ke, Ct) each, float32,
                the visible tokens first.

        Returns:
            Dict[str, Tensor]: Scalars for student block K:
            ``norm_student_layerK`` and ``norm_teacher_layerK``, the mean length
            of a token; and ``cosine_layerK``, the mean cosine of the predicted
            and the true token of the teacher, on visible tokens if the neck
            predicts these and else on the extra ones.
        """
        figures = dict()
        for index, layer in enumerate(self.student_layers):
            theirs = teacher_layers[index]
            if predicted.direct is not None:
                mine = predicted.direct[index].float()
                theirs = theirs[:, : mine.shape[1]]
            elif predicted.generated is not None:
                mine = predicted.generated[index].float()
                theirs = theirs[:, -mine.shape[1] :]
            else:
                continue
            figures[f'cosine_layer{layer}'] = F.cosine_similarity(mine, theirs, dim=-1).mean()
            figures[f'norm_student_layer{layer}'] = (
                student_layers[index].float().norm(dim=-1).mean()
            )
            figures[f'norm_teacher_layer{layer}'] = theirs.norm(dim=-1).mean()
        return figures


def split_layer_pairs(pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """[(6, 12), (12, 24)] -> [6, 12], [12, 24], checked.

    Args:
        pairs (Sequence[Tuple[int, int]]): (Block of the student, block of the
            teacher), counted from 1.

    Returns:
        Tuple[List[int], List[int]]: The student's and the teacher's blocks.

    Raises:
        ValueError: If these are no pairs of blocks, rising on both sides.
    """
    if not pairs or not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in pairs):
        raise ValueError(
            'layer_pairs is a list of (student block, teacher '
            f'block), such as [(6, 12), (12, 24)]; got {pairs}'
        )
    student, teacher = map(list, zip(*pairs))
    for side, layers in (('student', student), ('teacher', teacher)):
        if layers[0] < 1 or any(a >= b for a, b in itertools.pairwise(layers)):
            raise ValueError(
                f"layer_pairs must name rising blocks, counted from 1; the {side}'s are {layers}"
            )
    return student, teacher
