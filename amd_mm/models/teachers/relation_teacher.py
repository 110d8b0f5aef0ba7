import torch
from amd_mm.registry import MODELS
from mmcv.cnn.bricks.drop import DropPath
from torch import Tensor

from .frozen_teacher import FrozenTeacher


@MODELS.register_module()
class RelationTeacher(FrozenTeacher):
    """A frozen encoder of whose one block a student learns, TinyMIM.

    The blocks after it are neither kept nor run; for token relations the block
    itself stops once it has its query, key and value.

    No checkpoint says how many heads its blocks have, and with other heads the
    same weights give other relations: hence ``num_heads`` has to be said. Two
    readings of a TinyMIM student as the next student's teacher are in use. In
    the paper its last block keeps the heads with which it was trained (16 of
    a ViT-B that learnt from MAE ViT-L); the released code reads it with 12.

    Args:
        backbone (dict): Config of a backbone with ``query_key_value``. Its
            drop path, if any, stays on during training (the paper compares;
            without it is best).
        block (int): The target block, counted from 1.
        num_heads (int, optional): Heads with which the block's query, key and
            value are read. Only for token relations.
        checkpoint (str, optional): See :class:`FrozenTeacher`.
        dtype (str): See :class:`FrozenTeacher`.
        random_init (bool): See :class:`FrozenTeacher`.

    Raises:
        ValueError: As :class:`FrozenTeacher`.
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
        super().__init__(
            backbone, [block], checkpoint=checkpoint, dtype=dtype, random_init=random_init
        )
        self.num_heads = num_heads

    def train(self, mode: bool = True) -> 'RelationTeacher':
        """Stay in evaluation mode but for drop path."""
        super().train(False)
        for module in self.modules():
            if isinstance(module, DropPath):
                module.train(mode)
        return self

    @torch.no_grad()
    def query_key_value(self, patches: Tensor, token_ids: Tensor | None = None) -> Tensor:
        """Query, key and value of the target block.

        Args:
            patches (Tensor): (B, N, P), all patches of the image.
            token_ids (Tensor, optional): (B, K), int64, the patches it sees;
                all by default.

        Returns:
            Tensor: (3, B, H, E + K, d), of ``num_heads`` heads; the E class
            tokens first.
        """
        half = self.dtype != torch.float32
        with torch.autocast(patches.device.type, dtype=torch.bfloat16, enabled=half):
            qkv, _ = self.backbone.query_key_value(
                patches, self.layers[-1], token_ids=token_ids, num_heads=self.num_heads
            )
        return qkv
