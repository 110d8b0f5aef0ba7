from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from mmpretrain.models.selfsup import MoCoV3
from torch import Tensor, nn

from amd_mm.registry import MODELS
from ..mask_generators import TokenPartition
from ..teachers import CarriesTeacher
from .amd import split_tap_pairs


@MODELS.register_module()
class AlignedMoCoV3(CarriesTeacher, MoCoV3):
    """MMPretrain's MoCo v3 with the alignment of DMAE (section 4.5).

    To the contrastive loss comes the distance of the student's features from
    those of a frozen teacher, on all tokens of both views. The student is run
    once: its features are taken as MoCo v3 computes them.

    Args:
        backbone (dict): As in MoCo v3: a ViT of MMPretrain's.
        neck (dict): As in MoCo v3.
        head (dict): As in MoCo v3.
        teacher (dict): Config of the :class:`FrozenTeacher`.
        alignment (dict): Config of a neck that aligns visible tokens, such as
            :class:`DirectAlignment`; widths are inferred.
        tap_pairs (Sequence[Tuple[int, int]]): See :class:`AMD`.
        alignment_weight (float): Weight of the alignment, averaged over the
            taps.
        base_momentum (float): As in MoCo v3.
        data_preprocessor (dict, optional): As in MoCo v3.
        init_cfg (dict | List[dict], optional): Initialisation.

    Raises:
        ValueError: If the pairs do not fit the depths, or teacher and student
            see other tokens.
    """

    def __init__(self,
                 backbone: dict,
                 neck: dict,
                 head: dict,
                 teacher: dict,
                 alignment: dict,
                 tap_pairs: Sequence[Tuple[int, int]],
                 alignment_weight: float = 1.,
                 base_momentum: float = 0.01,
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[Union[dict, List[dict]]] = None) -> None:
        super().__init__(
            backbone,
            neck,
            head,
            base_momentum=base_momentum,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg)
        self.student_taps, teacher_taps = split_tap_pairs(tap_pairs)
        self.carry(MODELS.build(dict(teacher, taps=teacher_taps)))
        self._check_tokens()
        self.alignment_weight = alignment_weight
        self.alignment = MODELS.build(
            dict(
                alignment,
                student_dims=self.backbone.embed_dims,
                teacher_dims=self.teacher.embed_dims,
                num_pairs=len(self.student_taps)))

    def _check_tokens(self) -> None:
        mine, theirs = self.backbone, self.teacher.backbone
        if self.student_taps[-1] > mine.num_layers:
            raise ValueError(
                f'tap_pairs name student block {self.student_taps[-1]}, the '
                f'backbone has {mine.num_layers}')
        seen = [(tuple(mine.patch_resolution), mine.num_extra_tokens),
                (theirs.token_grid[1:], theirs.num_extra_tokens)]
        if seen[0] != seen[1]:
            raise ValueError(
                'teacher and student must see the same tokens, (rows, '
                f'columns) and class tokens: teacher.backbone has {seen[1]}, '
                f'backbone has {seen[0]}')

    def loss(self, inputs: List[Tensor],
             data_samples: list) -> Dict[str, Tensor]:
        """The training loss.

        Args:
            inputs (List[Tensor]): Two views of the images, (B, C, H, W) each,
                normalised.
            data_samples (list): Not used: no labels are needed.

        Returns:
            Dict[str, Tensor]: ``loss`` (MoCo v3's) and ``loss_direct``.
        """
        with self._collected() as taps:
            losses = super().loss(inputs, data_samples)
        student = [torch.cat(one) for one in taps]
        patches = self.teacher.backbone.patchify(torch.cat(inputs))
        partition = _all_tokens(patches)
        teacher = self.teacher(patches, partition.visible)
        predicted = self.alignment(student, partition)
        values = self.alignment.loss(predicted, teacher)['direct']
        losses['loss_direct'] = (
            self.alignment_weight * torch.stack(values).mean())
        return losses

    @contextmanager
    def _collected(self) -> Iterator[List[List[Tensor]]]:
        """For every tap what its block returns, call by call."""
        taps: List[List[Tensor]] = [[] for _ in self.student_taps]
        hooks = [
            self.backbone.layers[number - 1].register_forward_hook(
                _appender(kept))
            for number, kept in zip(self.student_taps, taps)
        ]
        try:
            yield taps
        finally:
            for hook in hooks:
                hook.remove()


def _appender(kept: List[Tensor]):

    def append(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        kept.append(output)

    return append


def _all_tokens(patches: Tensor) -> TokenPartition:
    """Of (B, N, P) patches: everything is seen by both."""
    batch, tokens, _ = patches.shape
    ids = torch.arange(tokens, device=patches.device).expand(batch, -1)
    return TokenPartition(visible=ids, extra=ids[:, :0], hidden=ids[:, :0])
