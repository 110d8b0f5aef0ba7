from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from amd_mm.registry import MODELS
from torch import Tensor, nn

from ..mask_generators import TokenPartition
from ..teachers import CarriesTeacher
from .amd import split_layer_pairs


class AlignsTokens(CarriesTeacher):
    """Alignment with a frozen teacher on all tokens, for any model of images.

    The model is run once, as it always is: its features are taken from its
    blocks as they compute them. To stand before a model of MMPretrain's that
    has a ViT as its ``backbone``.
    """

    backbone: Any  # built by the model's own class

    def build_alignment(
        self, teacher: dict, alignment: dict, layer_pairs: Sequence[tuple[int, int]], weight: float
    ) -> None:
        """Build the teacher and the neck.

        Args:
            teacher (dict): Config of a :class:`FrozenTeacher`.
            alignment (dict): Config of a neck that aligns visible tokens, such
                as :class:`DirectAlignment`; widths are inferred.
            layer_pairs (Sequence[Tuple[int, int]]): See :class:`AMD`.
            weight (float): Weight of the alignment.

        Raises:
            ValueError: If the pairs do not fit the depths, or teacher and
                student see other tokens.
        """
        self.student_layers, teacher_layers = split_layer_pairs(layer_pairs)
        self.carry(MODELS.build(dict(teacher, layers=teacher_layers)))
        self._check_tokens()
        self.alignment_weight = weight
        self.alignment = MODELS.build(
            dict(
                alignment,
                student_dims=self.backbone.embed_dims,
                teacher_dims=self.teacher.embed_dims,
                num_pairs=len(self.student_layers),
            )
        )

    def _check_tokens(self) -> None:
        mine, theirs = self.backbone, self.teacher.backbone
        if self.student_layers[-1] > mine.num_layers:
            raise ValueError(
                f'layer_pairs name student block {self.student_layers[-1]}, the '
                f'backbone has {mine.num_layers}'
            )
        seen = [
            (tuple(mine.patch_resolution), mine.num_extra_tokens),
            (theirs.token_grid[1:], theirs.num_extra_tokens),
        ]
        if seen[0] != seen[1]:
            raise ValueError(
                'teacher and student must see the same tokens, (rows, '
                f'columns) and class tokens: teacher.backbone has {seen[1]}, '
                f'backbone has {seen[0]}'
            )

    @contextmanager
    def collected_layers(self) -> Iterator[list[list[Tensor]]]:
        """Collect what the tapped blocks return within the ``with`` block.

        Yields:
            List[List[Tensor]]: For every layer (B, E + N, C), call by call.
        """
        layers: list[list[Tensor]] = [[] for _ in self.student_layers]
        hooks = [
            self.backbone.layers[number - 1].register_forward_hook(_appender(kept))
            for number, kept in zip(self.student_layers, layers)
        ]
        try:
            yield layers
        finally:
            for hook in hooks:
                hook.remove()

    def alignment_loss(self, layers: list[list[Tensor]], images: Tensor) -> Tensor:
        """Compare with the teacher.

        Args:
            layers (List[List[Tensor]]): From :meth:`collected_layers`.
            images (Tensor): (B, C, H, W), normalised: what the student saw in
                these calls, in their order.

        Returns:
            Tensor: Scalar, averaged over the layers and weighted.
        """
        student = [torch.cat(calls) for calls in layers]
        patches = self.teacher.backbone.patchify(images)
        partition = _all_tokens(patches)
        teacher = self.teacher(patches, partition.visible)
        predicted = self.alignment(student, partition)
        values = self.alignment.loss(predicted, teacher)['direct']
        return self.alignment_weight * torch.stack(values).mean()


def _appender(kept: list[Tensor]) -> Callable:

    def append(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        kept.append(output)

    return append


def _all_tokens(patches: Tensor) -> TokenPartition:
    """Of (B, N, P) patches: everything is seen by both."""
    batch, tokens, _ = patches.shape
    ids = torch.arange(tokens, device=patches.device).expand(batch, -1)
    return TokenPartition(visible=ids, teacher_only=ids[:, :0], hidden=ids[:, :0])
