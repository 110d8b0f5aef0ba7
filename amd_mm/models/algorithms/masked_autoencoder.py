"""Masked autoencoding: MAE (CVPR 2022) and VideoMAE (NeurIPS 2022)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from amd_mm.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from .. import utils
from ..mask_generators import TokenPartition
from ..utils import gather_tokens, token_mask, unpatchify


@dataclass(frozen=True)
class Reconstruction:
    """A clip as the model sees it and completes it; T is 1 for images.

    Attributes:
        clip (Tensor): (B, C, T, H, W), the true clip, RGB in [0, 1].
        completed (Tensor): (B, C, T, H, W), the same with the decoded tokens
            replaced by their predictions.
        partition (TokenPartition): Who sees what.
    """

    clip: Tensor
    completed: Tensor
    partition: TokenPartition


@MODELS.register_module()
class MaskedAutoencoder(BaseModel):
    """A masked autoencoder: VideoMAE, and MAE on images.

    VideoMAE is arXiv 2203.12602, MAE is arXiv 2111.06377, section 3 of each.
    The student encodes the tokens that it sees and a light decoder predicts
    the pixels of those that it does not see. An image is a clip of one frame;
    what is special about it (a class token, for one) is the backbone's affair.

    Args:
        backbone (dict): Config of the student, a ``VideoVisionTransformer`` or
            an ``ImageVisionTransformer`` that norms every token and pools
            none (the decoder reads them).
        mask_generator (dict): Config of the generator of partitions.
        decoder (dict): Config of the decoder; widths, grid and position table
            are inferred from the backbone.
        head (dict): Config of target and reconstruction loss.
        rec_weight (float): Weight of the reconstruction; 0 builds and runs no
            decoder, for algorithms with another loss.
        data_preprocessor (dict): Config; its mean and std also define the
            target's pixels.
        compile_blocks (bool): ``torch.compile`` each transformer block in
            place, the teacher's too if there is one.
        init_cfg (dict | List[dict], optional): Initialisation.

    Raises:
        ValueError: If there is nothing to learn from, or a part that the
            weights ask for is missing.
    """

    learns_otherwise = False  # whether subclasses have a further loss

    def __init__(
        self,
        backbone: dict,
        mask_generator: dict,
        decoder: dict | None = None,
        head: dict | None = None,
        rec_weight: float = 1.0,
        data_preprocessor: dict | None = None,
        compile_blocks: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.mask_generator = MODELS.build(mask_generator)
        self.rec_weight = rec_weight
        self.token_counts()  # ratios that do not fit the grid stop here
        if rec_weight:
            self._build_decoder(decoder, head)
        elif self.learns_otherwise:
            self._drop_unused_norm()
        else:
            raise ValueError('rec_weight=0 leaves a masked autoencoder nothing to learn from')
        if compile_blocks:
            utils.compile_blocks(self)

    def _build_decoder(self, decoder: dict | None, head: dict | None) -> None:
        if decoder is None or head is None:
            raise ValueError('reconstruction (rec_weight > 0) needs a decoder and a head')
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

    def _drop_unused_norm(self) -> None:
        # The layers are taken before the final norm, which only the decoder
        # reads: without one it would never get a gradient, and
        # DistributedDataParallel would wait for it.
        self.backbone.norm.requires_grad_(False)

    @property
    def reconstructs(self) -> bool:
        """Whether there is a decoder."""
        return bool(self.rec_weight)

    def token_counts(self) -> dict[str, int]:
        """Tokens of a clip: total, visible, extra, hidden and decoded."""
        counts = self.mask_generator.counts(self.backbone.token_grid)
        if not self.rec_weight:
            counts['decoded'] = 0
        return counts

    def pixel_stats(self) -> tuple[Tensor, Tensor]:
        """What turns the normalised clip into values up to 255.

        Returns:
            Tuple[Tensor, Tensor]: The preprocessor's mean and std, (C,) each;
            zeros and ones if it does not normalise, when the clip itself is
            taken to be up to 255.
        """
        mean = getattr(self.data_preprocessor, 'mean', None)
        if mean is None:
            device = self.backbone.patch_embed.projection.weight.device
            zeros = torch.zeros(self.backbone.in_channels, device=device)
            return zeros, zeros + 1
        return mean.flatten(), self.data_preprocessor.std.flatten()

    def patches_of(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        """Cut packed clips or images into patches.

        Args:
            inputs (Tensor | Sequence[Tensor]): Normalised clips: (B, V, C, T,
                H, W) as MMAction2 packs V views of a video, or (B, C, T, H,
                W). Normalised images: (B, C, H, W), or V of these as
                MMPretrain packs V views of an image.

        Returns:
            Tensor: (B * V, N, P).

        Raises:
            ValueError: If the inputs are not of the backbone's size.
        """
        if not isinstance(inputs, Tensor):
            inputs = torch.stack(list(inputs), 1)
        views = inputs.ndim > self.backbone.input_dims
        clip = inputs.flatten(0, 1) if views else inputs
        patches = self.backbone.patchify(clip)
        grid = self.backbone.grid_of(clip)
        if grid != self.backbone.token_grid:
            wrong = 'num_frames and img_size' if clip.ndim == 5 else 'img_size'
            raise ValueError(
                f'inputs of {tuple(clip.shape[2:])} make a grid of {grid} '
                f'tokens, the backbone was built for '
                f'{self.backbone.token_grid}: set its {wrong}'
            )
        return patches

    def draw_partition(self, patches: Tensor) -> TokenPartition:
        """Draw who sees what.

        Args:
            patches (Tensor): (B, N, P), all patches of the clips.

        Returns:
            TokenPartition: Of (B, K) index tensors, on the patches' device.
        """
        return self.mask_generator(patches.shape[0], self.backbone.token_grid, patches.device)

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | Tensor | list:
        """MMEngine's entry point.

        Args:
            inputs (Tensor): Normalised clips, (B, V, C, T, H, W) or (B, C, T,
                H, W), or images, (B, C, H, W), see :meth:`patches_of`.
            data_samples (list, optional): The samples' annotations.
            mode (str): ``loss``, ``tensor`` or ``predict``.

        Returns:
            Dict[str, Tensor] | Tensor | list: Losses; tokens (B, E + N, C) of
            the whole clip; or data samples with the reconstruction.

        Raises:
            RuntimeError: For another mode.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'tensor':
            return self.extract_feat(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise RuntimeError(f'mode is loss, tensor or predict, got {mode!r}')

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Encode whole clips, without masks.

        Args:
            inputs (Tensor): Normalised clips, (B, V, C, T, H, W) or (B, C, T,
                H, W), or images, (B, C, H, W), see :meth:`patches_of`.

        Returns:
            Tensor: (B * V, E + N, C), after the final norm.
        """
        return self.backbone.encode(self.patches_of(inputs)).tokens

    def loss(
        self,
        inputs: Tensor,
        data_samples: list | None = None,
        partition: TokenPartition | None = None,
    ) -> dict[str, Tensor]:
        """The training loss.

        Args:
            inputs (Tensor): Normalised clips, (B, V, C, T, H, W) or (B, C, T,
                H, W), or images, (B, C, H, W), see :meth:`patches_of`.
            data_samples (list, optional): Not used: no labels are needed.
            partition (TokenPartition, optional): Who sees what; drawn by the
                mask generator by default.

        Returns:
            Dict[str, Tensor]: ``loss_rec``, a scalar.
        """
        patches = self.patches_of(inputs)
        if partition is None:
            partition = self.draw_partition(patches)
        tokens = self.backbone.encode(patches, partition.visible).tokens
        return dict(loss_rec=self.reconstruction_loss(tokens, patches, partition))

    def reconstruction_loss(
        self, tokens: Tensor, patches: Tensor, partition: TokenPartition
    ) -> Tensor:
        """Decode and compare, weighted.

        Args:
            tokens (Tensor): (B, E + Kv, C), the student's, normed.
            patches (Tensor): (B, N, P), all patches of the clip.
            partition (TokenPartition): Who sees what.

        Returns:
            Tensor: Scalar.
        """
        wanted = partition.targets
        prediction = self.decoder(tokens, partition.visible, wanted)
        truth = gather_tokens(patches, wanted)
        return self.rec_weight * self.head(prediction, truth, *self.pixel_stats())

    @torch.no_grad()
    def reconstruct(
        self, inputs: Tensor, partition: TokenPartition | None = None
    ) -> Reconstruction:
        """Complete clips from what the student sees.

        Args:
            inputs (Tensor): Normalised clips, (B, V, C, T, H, W) or (B, C, T,
                H, W), or images, (B, C, H, W), see :meth:`patches_of`.
            partition (TokenPartition, optional): Who sees what of the B * V
                clips; drawn by default.

        Returns:
            Reconstruction: True and completed clips, one for every view.

        Raises:
            RuntimeError: If the model was built without a decoder.
        """
        if not self.reconstructs:
            raise RuntimeError('this model has no decoder (rec_weight=0), so it cannot reconstruct')
        patches = self.patches_of(inputs)
        if partition is None:
            partition = self.draw_partition(patches)
        wanted, stats = partition.targets, self.pixel_stats()
        tokens = self.backbone.encode(patches, partition.visible).tokens
        prediction = self.decoder(tokens, partition.visible, wanted)
        rgb = self.head.to_rgb(prediction, gather_tokens(patches, wanted), *stats)
        truth = self.head.patches_to_rgb(patches, *stats)
        index = wanted.unsqueeze(-1).expand_as(rgb)
        completed = truth.scatter(1, index, rgb)
        shape = self.backbone.token_grid, self.backbone.patch_shape
        return Reconstruction(unpatchify(truth, *shape), unpatchify(completed, *shape), partition)

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None) -> list:
        """Reconstruct, and put it onto the data samples.

        Args:
            inputs (Tensor): Normalised clips, (B, V, C, T, H, W) or (B, C, T,
                H, W), or images, (B, C, H, W), see :meth:`patches_of`.
            data_samples (Sequence, optional): One a clip; made if None.

        Returns:
            list: The data samples with ``clip`` and ``completed``
            (C, T, H, W), RGB in [0, 1], and ``student_mask`` and
            ``teacher_mask`` (T', H', W'), true where not seen.
        """
        from mmaction.structures import ActionDataSample

        result = self.reconstruct(inputs)
        partition, grid = result.partition, self.backbone.token_grid
        masks = [
            ~token_mask(ids, partition.num_tokens) for ids in (partition.visible, partition.teacher)
        ]
        if data_samples is None:
            data_samples = [ActionDataSample() for _ in result.clip]
        for index, sample in enumerate(data_samples):
            sample.set_field(result.clip[index], 'clip')
            sample.set_field(result.completed[index], 'completed')
            sample.set_field(masks[0][index].view(grid), 'student_mask')
            sample.set_field(masks[1][index].view(grid), 'teacher_mask')
        return list(data_samples)
