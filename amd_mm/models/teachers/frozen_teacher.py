from collections.abc import Sequence

import torch
from amd_mm.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..backbones import check_layers

_DTYPES = dict(float32=torch.float32, bfloat16=torch.bfloat16)


@MODELS.register_module()
class FrozenTeacher(BaseModule):
    """A frozen encoder whose layers a student learns to match, AMD section 3.

    It is read from a checkpoint of any known format (VideoMAE, MAE, AMD, DMAE,
    MMAction2, MMPretrain, Hugging Face, ours) by the strict loader, and cut
    off after its last layer: the blocks after it are neither kept nor run.

    Args:
        backbone (dict): Config of a backbone with ``encode``.
        layers (Sequence[int]): Its blocks to layer, counted from 1, rising; AMD
            fills them in from its ``layer_pairs``.
        checkpoint (str, optional): File of the teacher's weights.
        dtype (str): ``float32``, or ``bfloat16`` to keep the linear layers'
            weights in bfloat16 and compute under autocast: half the memory and
            no cast per step. Norms and the residual stream stay in float32.
        random_init (bool): Distil from random weights, for tests.

    Raises:
        ValueError: Without a checkpoint unless ``random_init``, with both, or
            if a layer is not one of the blocks.
    """

    def __init__(
        self,
        backbone: dict,
        layers: Sequence[int],
        checkpoint: str | None = None,
        dtype: str = 'float32',
        random_init: bool = False,
    ) -> None:
        super().__init__()
        if dtype not in _DTYPES:
            raise ValueError(f"the teacher's dtype is one of {list(_DTYPES)}, got {dtype!r}")
        if (checkpoint is None) != random_init:
            raise ValueError(
                'the teacher needs weights: give teacher=dict(checkpoint='
                "'FILE'), a pre-trained VideoMAE, MAE, AMD, MMAction2 or "
                'Hugging Face file. (random_init=True instead, for tests, '
                f'distils from noise.) Got checkpoint={checkpoint!r}, '
                f'random_init={random_init}'
            )
        self.backbone = MODELS.build(backbone)
        if layers[-1] > self.backbone.depth:
            raise ValueError(
                f'block {layers[-1]} of the teacher is to be tapped, and the '
                f'blocks of teacher.backbone are from 1 to '
                f'{self.backbone.depth}: choose another of its blocks '
                '(layer_pairs) or a deeper teacher'
            )
        check_layers(layers, self.backbone.depth)
        self.layers = list(layers)
        if checkpoint is None:
            self.backbone.init_weights()
        else:
            from amd_mm.checkpoints import load_encoder

            load_encoder(self.backbone, checkpoint, allow_missing=self.backbone.closing_norms)
        del self.backbone.blocks[self.layers[-1] :]
        self.dtype = _DTYPES[dtype]
        for module in self.backbone.modules():
            if isinstance(module, nn.Linear):
                module.to(self.dtype)
        self.requires_grad_(False)
        self.eval()

    @property
    def embed_dims(self) -> int:
        """Width of the teacher."""
        return self.backbone.embed_dims

    def init_weights(self) -> None:
        """Do nothing: the weights are there since construction."""

    def train(self, mode: bool = True) -> 'FrozenTeacher':
        """Stay in evaluation mode whatever the student does."""
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> 'FrozenTeacher':
        """Stay one: copies of the student (EMA) share their teacher."""
        return self

    @torch.no_grad()
    def forward(self, patches: Tensor, token_ids: Tensor) -> list[Tensor]:
        """The teacher's features.

        Args:
            patches (Tensor): (B, N, P), all patches of the clip.
            token_ids (Tensor): (B, K), int64, the tokens it sees.

        Returns:
            List[Tensor]: (B, E + K, C) for every layer, float32, before any
            norm, E class tokens first.
        """
        half = self.dtype != torch.float32
        with torch.autocast(patches.device.type, dtype=torch.bfloat16, enabled=half):
            layers = self.backbone.encode(
                patches, token_ids, layers=self.layers, stop_early=True
            ).layers
        return [layer.float() for layer in layers]
