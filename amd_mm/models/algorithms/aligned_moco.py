from collections.abc import Sequence

import torch
from amd_mm.registry import MODELS
from mmpretrain.models.selfsup import MoCoV3
from torch import Tensor

from .aligning import AlignsTokens


@MODELS.register_module()
class AlignedMoCoV3(AlignsTokens, MoCoV3):
    """MMPretrain's MoCo v3 with the alignment of DMAE (CVPR 2023).

    To the contrastive loss of MoCo v3 (ICCV 2021, arXiv 2104.02057) comes the
    distance of the student's features from those of a frozen teacher, on all
    tokens of both views.

    Args:
        backbone (dict): As in MoCo v3: a ViT of MMPretrain's.
        neck (dict): As in MoCo v3.
        head (dict): As in MoCo v3.
        teacher (dict): Config of the :class:`FrozenTeacher`.
        alignment (dict): Config of a neck that aligns visible tokens, such as
            :class:`DirectAlignment`; widths are inferred.
        layer_pairs (Sequence[Tuple[int, int]]): See :class:`AMD`.
        alignment_weight (float): Weight of the alignment, averaged over the
            layers.
        base_momentum (float): As in MoCo v3.
        data_preprocessor (dict, optional): As in MoCo v3.
        init_cfg (dict | List[dict], optional): Initialisation.

    Raises:
        ValueError: If the pairs do not fit the depths, or teacher and student
            see other tokens.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        teacher: dict,
        alignment: dict,
        layer_pairs: Sequence[tuple[int, int]],
        alignment_weight: float = 1.0,
        base_momentum: float = 0.01,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            backbone,
            neck,
            head,
            base_momentum=base_momentum,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        self.build_alignment(teacher, alignment, layer_pairs, alignment_weight)

    def loss(self, inputs: list[Tensor], data_samples: list) -> dict[str, Tensor]:
        """The training loss.

        Args:
            inputs (List[Tensor]): Two views of the images, (B, C, H, W) each,
                normalised.
            data_samples (list): Not used: no labels are needed.

        Returns:
            Dict[str, Tensor]: ``loss`` (MoCo v3's) and ``loss_direct``, a
            scalar each.
        """
        with self.collected_layers() as layers:
            losses = super().loss(inputs, data_samples)
        losses['loss_direct'] = self.alignment_loss(layers, torch.cat(inputs))
        return losses
