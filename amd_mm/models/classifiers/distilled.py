"""Distillation while a classifier is fine-tuned: what DMAE compares with."""

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from amd_mm.registry import MODELS
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from ..algorithms.aligning import AlignsTokens
from ..teachers import CarriesTeacher

KINDS = ('soft', 'hard')


@MODELS.register_module()
class LogitDistilledClassifier(CarriesTeacher, ImageClassifier):
    """MMPretrain's classifier, which also learns a teacher's predictions.

    Teacher and student see the same images, mixed ones included.

    Args:
        backbone (dict): As in ``ImageClassifier``.
        head (dict): As in ``ImageClassifier``.
        teacher (dict): Config of the :class:`FrozenClassifier`.
        kind (str): ``soft``: the divergence of the student's distribution from
            the teacher's, both at a temperature; ``hard``: cross entropy with
            the teacher's most likely class.
        temperature (float): Divides the logits of ``soft``, whose loss it
            multiplies squared.
        weight (float): Weight of the distillation.
        neck (dict, optional): As in ``ImageClassifier``.
        train_cfg (dict, optional): As in ``ImageClassifier``.
        data_preprocessor (dict, optional): As in ``ImageClassifier``.
        init_cfg (dict | List[dict], optional): Initialisation.

    Raises:
        ValueError: If the kind is unknown, the temperature not above 0, or
            teacher and student tell other numbers of classes apart.
    """

    head: Any  # built by ImageClassifier
    extract_feat: Callable[..., Any]

    def __init__(
        self,
        backbone: dict,
        head: dict,
        teacher: dict,
        kind: str = 'soft',
        temperature: float = 1.0,
        weight: float = 1.0,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            backbone,
            neck,
            head,
            train_cfg=train_cfg,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        if kind not in KINDS:
            raise ValueError(f'kind is one of {KINDS}, got {kind!r}')
        if temperature <= 0:
            raise ValueError(f'temperature must be above 0, got {temperature}')
        self.kind, self.temperature, self.weight = kind, temperature, weight
        self.carry(MODELS.build(teacher))
        if self.teacher.num_classes != self.head.num_classes:
            raise ValueError(
                'teacher and student must tell the same classes apart: '
                f'teacher.classifier.head has {self.teacher.num_classes}, '
                f'head has {self.head.num_classes}'
            )

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """The training loss.

        Args:
            inputs (Tensor): (B, C, H, W), normalised.
            data_samples (list): With their labels.

        Returns:
            Dict[str, Tensor]: The head's losses and ``loss_distillation``, a
            scalar.
        """
        features = self.extract_feat(inputs)
        losses = self.head.loss(features, data_samples)
        losses['loss_distillation'] = self.weight * self._distance(
            self.head(features).float(), self.teacher(inputs)
        )
        return losses

    def _distance(self, mine: Tensor, theirs: Tensor) -> Tensor:
        """Of the student's logits (B, classes) from the teacher's."""
        if self.kind == 'hard':
            return F.cross_entropy(mine, theirs.argmax(1))
        heat = self.temperature
        return heat**2 * F.kl_div(
            F.log_softmax(mine / heat, 1),
            F.log_softmax(theirs / heat, 1),
            reduction='batchmean',
            log_target=True,
        )


@MODELS.register_module()
class AlignedClassifier(AlignsTokens, ImageClassifier):
    """MMPretrain's classifier, whose features are aligned with a teacher's.

    Args:
        backbone (dict): As in ``ImageClassifier``: a ViT of MMPretrain's.
        head (dict): As in ``ImageClassifier``.
        teacher (dict): Config of the :class:`FrozenTeacher`; its checkpoint
            may be a fine-tuned classifier's.
        alignment (dict): Config of a neck that aligns visible tokens, such as
            :class:`DirectAlignment`; widths are inferred.
        layer_pairs (Sequence[Tuple[int, int]]): See :class:`AMD`.
        alignment_weight (float): Weight of the alignment, averaged over the
            layers.
        neck (dict, optional): As in ``ImageClassifier``.
        train_cfg (dict, optional): As in ``ImageClassifier``.
        data_preprocessor (dict, optional): As in ``ImageClassifier``.
        init_cfg (dict | List[dict], optional): Initialisation.

    Raises:
        ValueError: If the pairs do not fit the depths, or teacher and student
            see other tokens.
    """

    head: Any  # built by ImageClassifier
    extract_feat: Callable[..., Any]

    def __init__(
        self,
        backbone: dict,
        head: dict,
        teacher: dict,
        alignment: dict,
        layer_pairs: Sequence[tuple[int, int]],
        alignment_weight: float = 1.0,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            backbone,
            neck,
            head,
            train_cfg=train_cfg,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        self.build_alignment(teacher, alignment, layer_pairs, alignment_weight)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """The training loss.

        Args:
            inputs (Tensor): (B, C, H, W), normalised.
            data_samples (list): With their labels.

        Returns:
            Dict[str, Tensor]: The head's losses and ``loss_direct``, a scalar.
        """
        with self.collected_layers() as layers:
            losses = super().loss(inputs, data_samples)
        losses['loss_direct'] = self.alignment_loss(layers, inputs)
        return losses
