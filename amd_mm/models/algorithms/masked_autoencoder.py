"""Masked autoencoding: MAE (CVPR 2022) and VideoMAE (NeurIPS 2022)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from ..mask_generators import TokenPartition
from ..utils import checkpoint_blocks, gather_tokens, token_mask, unpatchify
from ..utils import compile_blocks as compile_in_place


@dataclass(frozen=True)
class Reconstruction:
    """Clips and their reconstruction; T is 1 for images.

    Attributes:
        clip: (B, C, T, H, W), RGB in [0, 1].
        completed: (B, C, T, H, W), the same with the decoded tokens replaced by predictions.
        partition: Which tokens were seen.
    """

    clip: Tensor
    completed: Tensor
    partition: TokenPartition


@MODELS.register_module()
class MaskedAutoencoder(BaseModel):
    """VideoMAE (arXiv 2203.12602), and MAE on images (arXiv 2111.06377), section 3 of both.

    The student encodes the visible tokens, and a light decoder predicts the pixels of the masked
    ones. An image is a clip of one frame.

    Inputs are normalised: clips (B, V, C, T, H, W), as MMAction2 packs V views of a video, or
    (B, C, T, H, W); images (B, C, H, W), or a list of V of these, as MMPretrain packs views.

    Args:
        backbone: Config of the student, whose final norm normalises every token.
        mask_generator: Config of the mask generator.
        decoder: Config of the decoder; sizes and position table are inferred from the backbone.
        head: Config of the reconstruction's target and loss.
        rec_weight: Weight of the reconstruction. 0 builds no decoder; only subclasses with another
            loss accept it.
        data_preprocessor: Config. Its mean and std also define the pixels of the target.
        compile_blocks: ``torch.compile`` each transformer block in place.
        with_cp: Recompute each transformer block in the backward pass, which saves memory (gradient
            checkpointing).

    Raises:
        ConfigError: If parts are missing or contradict each other.
    """

    has_other_losses = False

    def __init__(
        self,
        backbone: dict,
        mask_generator: dict,
        decoder: dict | None = None,
        head: dict | None = None,
        rec_weight: float = 1.0,
        data_preprocessor: dict | None = None,
        compile_blocks: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.mask_generator = MODELS.build(mask_generator)
        self.rec_weight = rec_weight
        self.token_counts()  # raises if the ratios do not suit the grid
        if self.reconstructs:
            self._build_decoder(decoder, head)
        elif not self.has_other_losses:
            raise ConfigError('rec_weight=0 leaves a masked autoencoder without a loss')
        if with_cp:
            checkpoint_blocks(self)
        if compile_blocks:
            compile_in_place(self)

    def _build_decoder(self, decoder: dict | None, head: dict | None) -> None:
        if decoder is None or head is None:
            raise ConfigError('reconstruction (rec_weight > 0) needs a decoder and a head')
        self.backbone.check_decodable()
        self.decoder = MODELS.build(
            dict(
                decoder,
                in_dims=self.backbone.embed_dims,
                patch_dims=self.backbone.patch_dims,
                grid=self.backbone.token_grid,
                pos_embed_type=self.backbone.pos_embed_type,
            )
        )
        self.head = MODELS.build(dict(head, in_channels=self.backbone.in_channels))

    @property
    def reconstructs(self) -> bool:
        """Whether there is a decoder."""
        return bool(self.rec_weight)

    def token_counts(self) -> dict[str, int]:
        """Numbers of tokens of a clip, see the mask generator's ``counts``."""
        counts = self.mask_generator.counts(self.backbone.token_grid)
        if not self.reconstructs:
            counts['decoded'] = 0
        return counts

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | Tensor | list:
        """Dispatch to :meth:`loss`, :meth:`predict` or (``tensor``) :meth:`extract_feat`."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.extract_feat(inputs)
        raise RuntimeError(f'mode must be loss, tensor or predict, got {mode!r}')

    def loss(
        self,
        inputs: Tensor,
        data_samples: list | None = None,
        partition: TokenPartition | None = None,
    ) -> dict[str, Tensor]:
        """The training loss, ``loss_rec``.

        Args:
            inputs: See the class.
            data_samples: Ignored.
            partition: Which tokens are seen; drawn by default.
        """
        patches = self.patches_of(inputs)  # -> (B * V, N, P)
        if partition is None:
            partition = self.draw_partition(patches)
        tokens = self.backbone.encode(patches, partition.visible).tokens  # -> (B * V, E + Kv, C)
        return dict(loss_rec=self.reconstruction_loss(tokens, patches, partition))

    def patches_of(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        """Cut inputs into patches: -> (B * V, N, P).

        Raises:
            ValueError: If the inputs do not have the backbone's size.
        """
        if not isinstance(inputs, Tensor):
            inputs = torch.stack(list(inputs), 1)  # -> (B, V, C, H, W)
        if inputs.ndim > self.backbone.input_dims:
            inputs = inputs.flatten(0, 1)
        patches = self.backbone.patchify(inputs)
        grid = self.backbone.grid_of(inputs)
        if grid != self.backbone.token_grid:
            names = 'num_frames and img_size' if inputs.ndim == 5 else 'img_size'
            raise ValueError(
                f'inputs of size {tuple(inputs.shape[2:])} make a grid of {grid} tokens, the '
                f'backbone was built for {self.backbone.token_grid}: set its {names}'
            )
        return patches

    def draw_partition(self, patches: Tensor) -> TokenPartition:
        """Draw which of the patches (B, N, P) are seen."""
        return self.mask_generator(patches.shape[0], self.backbone.token_grid, patches.device)

    def reconstruction_loss(
        self, tokens: Tensor, patches: Tensor, partition: TokenPartition
    ) -> Tensor:
        """Decode the student's tokens (B, E + Kv, C) and compare with the patches, weighted."""
        wanted = partition.targets  # (B, Kd)
        prediction = self.decoder(tokens, partition.visible, wanted)  # -> (B, Kd, P)
        truth = gather_tokens(patches, wanted)  # (B, N, P) -> (B, Kd, P)
        return self.rec_weight * self.head(prediction, truth, *self.pixel_stats())

    def pixel_stats(self) -> tuple[Tensor, Tensor]:
        """The preprocessor's mean and std, (C,) each, for values up to 255.

        Zeros and ones if it does not normalise: then inputs are up to 255.
        """
        mean = getattr(self.data_preprocessor, 'mean', None)
        if mean is None:
            zeros = self.backbone.patch_embed.projection.weight.new_zeros(self.backbone.in_channels)
            return zeros, zeros + 1
        return mean.flatten(), self.data_preprocessor.std.flatten()

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Encode all tokens: -> (B * V, E + N, C), after the final norm."""
        return self.backbone.encode(self.patches_of(inputs)).tokens

    @torch.no_grad()
    def reconstruct(
        self, inputs: Tensor, partition: TokenPartition | None = None
    ) -> Reconstruction:
        """Complete B * V clips from their visible tokens.

        Args:
            inputs: See the class.
            partition: Which tokens are seen; drawn by default.

        Raises:
            RuntimeError: If the model has no decoder.
        """
        if not self.reconstructs:
            raise RuntimeError('this model has no decoder (rec_weight=0), so it cannot reconstruct')
        patches = self.patches_of(inputs)
        if partition is None:
            partition = self.draw_partition(patches)
        wanted, stats = partition.targets, self.pixel_stats()
        tokens = self.backbone.encode(patches, partition.visible).tokens
        prediction = self.decoder(tokens, partition.visible, wanted)
        predicted = self.head.to_rgb(prediction, gather_tokens(patches, wanted), *stats)
        truth = self.head.patches_to_rgb(patches, *stats)  # (B, N, P)
        completed = truth.scatter(1, wanted.unsqueeze(-1).expand_as(predicted), predicted)
        sizes = self.backbone.token_grid, self.backbone.patch_shape
        return Reconstruction(unpatchify(truth, *sizes), unpatchify(completed, *sizes), partition)

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None) -> list:
        """Reconstruct each clip and store the result in its data sample.

        Returns:
            Data samples with ``clip`` and ``completed`` (C, T, H, W), RGB in [0, 1], and
            ``student_mask`` and ``teacher_mask`` (T', H', W'), true where not seen.
        """
        from mmaction.structures import ActionDataSample

        result = self.reconstruct(inputs)
        partition, grid = result.partition, self.backbone.token_grid
        student_mask = ~token_mask(partition.visible, partition.num_tokens)
        teacher_mask = ~token_mask(partition.teacher, partition.num_tokens)
        if data_samples is None:
            data_samples = [ActionDataSample() for _ in result.clip]
        for index, sample in enumerate(data_samples):
            sample.set_field(result.clip[index], 'clip')
            sample.set_field(result.completed[index], 'completed')
            sample.set_field(student_mask[index].view(grid), 'student_mask')
            sample.set_field(teacher_mask[index].view(grid), 'teacher_mask')
        return list(data_samples)
