"""A plain implementation of AMD's and VideoMAE's training step, as the baseline.

It takes the weights, clips and masks of a model of this package, and computes the same losses as
a first implementation would: attention that stores its weights, a convolution over all tokens
followed by boolean masks, each projection computed once for the direct loss and once more for the
generator, targets for all tokens, the whole teacher in float32, and losses copied to the host in
every step.
"""

import copy
import math

import common
import torch
import torch.nn.functional as F
from amd_mm.models import MaskedAutoencoder, SerialAlignment, TokenPartition, VideoVisionTransformer
from amd_mm.models.teachers import standardize_channels
from amd_mm.models.utils import patchify, token_mask
from amd_mm.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn


def plain_config(model: ConfigDict) -> ConfigDict:
    """A copy of a model's config with MMAction2's own attention and a float32 teacher.

    Raises:
        ValueError: If there is no plain implementation of the model.
    """
    model = copy.deepcopy(model)
    if MODELS.get(model.backbone.type) is not VideoVisionTransformer:
        raise ValueError(
            f'the plain step needs a video backbone (amd_mm.VideoVisionTransformer), '
            f'model.backbone.type is {model.backbone.type}'
        )
    parts = [model.backbone, model.get('decoder')]
    if model.get('teacher'):
        if MODELS.get(model.neck.type) is not SerialAlignment:
            raise ValueError(
                f'the plain step needs amd_mm.SerialAlignment, model.neck.type is {model.neck.type}'
            )
        parts += [model.neck, model.teacher.backbone]
        model.teacher.dtype = 'float32'
    for part in filter(None, parts):
        part.fused_attention = False
    model.compile_blocks = False
    return model


class PlainStep:
    """One training step, from normalised clips to new weights.

    Args:
        model: Built from :func:`plain_config`, on its device.
        cfg: The model's config.
        optim_wrapper: The config's optimiser wrapper; AdamW's parameter groups are taken from it.
        dtype: What autocast computes in; fp16 losses are scaled.
    """

    def __init__(
        self, model: MaskedAutoencoder, cfg: ConfigDict, optim_wrapper: ConfigDict, dtype: str
    ) -> None:
        self.model, self.dtype = model, dtype
        self.device = next(model.parameters()).device
        self.teacher = None
        if cfg.get('teacher'):
            # All blocks, also those after the last layer that is aligned.
            teacher = MODELS.build(cfg.teacher.backbone)
            teacher.load_state_dict(model.teacher.backbone.state_dict(), strict=False)
            self.teacher = teacher.to(self.device).requires_grad_(False).eval()
            model.teacher.backbone = nn.Identity()
        groups = [
            {key: group[key] for key in ('params', 'lr', 'weight_decay')}
            for group in build_optim_wrapper(model, optim_wrapper).param_groups
        ]
        settings = {
            key: value
            for key, value in optim_wrapper.optimizer.items()
            if key not in ('type', 'fused')
        }
        self.optimizer = torch.optim.AdamW(groups, **settings)
        self.max_norm = (optim_wrapper.get('clip_grad') or {}).get('max_norm')
        scaler = getattr(torch.amp, 'GradScaler', torch.cuda.amp.GradScaler)
        self.scaler = scaler(enabled=dtype == 'fp16')

    def __call__(self, clip: Tensor) -> Tensor:
        """Train on normalised clips (B, C, T, H, W); the loss."""
        with common.autocast(self.device, self.dtype):
            partition = self.model.mask_generator(
                len(clip), self.model.backbone.token_grid, clip.device
            )
            losses = self.losses(clip, partition)
        loss = sum(losses.values())
        if not all(math.isfinite(value.item()) for value in losses.values()):
            raise common.UnequalError('the loss of the plain step is not finite')
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        if self.max_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return loss.detach()

    def losses(self, clip: Tensor, partition: TokenPartition) -> dict[str, Tensor]:
        """The weighted losses of clips (B, C, T, H, W)."""
        number = partition.num_tokens
        unseen = ~token_mask(partition.visible, number)  # by the student, (B, N)
        masked = ~token_mask(partition.teacher, number)  # for the teacher, (B, N)
        tokens, layers = self.run_student(clip, unseen)
        losses = {}
        if self.model.reconstructs:
            losses['loss_rec'] = self.reconstruction_loss(clip, tokens, unseen, partition)
        if self.teacher is not None:
            teacher_layers = self.run_teacher(clip, masked)
            generated = token_mask(partition.generation_targets, number)
            losses.update(self.alignment_losses(layers, teacher_layers, unseen, masked, generated))
        return losses

    def run_student(self, clip: Tensor, unseen: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Normed tokens (B, Kv, C), and the layers that are aligned, (B, Kv, C) each."""
        backbone, layers = self.model.backbone, []
        tokens = embed(backbone, clip, unseen)
        for number, block in enumerate(backbone.blocks, start=1):
            tokens = block(tokens)
            if number in getattr(self.model, 'student_layers', ()):
                layers.append(tokens)
        return backbone.norm(tokens), layers

    @torch.no_grad()
    def run_teacher(self, clip: Tensor, masked: Tensor) -> list[Tensor]:
        """The layers that are aligned, (B, Kv + Ke, Ct) each, in the clip's order."""
        tokens, layers = embed(self.teacher, clip, masked), []
        for number, block in enumerate(self.teacher.blocks, start=1):
            tokens = block(tokens)
            if number in self.model.teacher.layers:
                layers.append(tokens)
        if self.model.teacher.standardize:
            layers = [standardize_channels(layer) for layer in layers]
        return layers

    def reconstruction_loss(
        self, clip: Tensor, tokens: Tensor, unseen: Tensor, partition: TokenPartition
    ) -> Tensor:
        """Mean squared error of the decoded patches."""
        model, decoder = self.model, self.model.decoder
        decoded = token_mask(partition.targets, partition.num_tokens)
        patches = patchify(clip, model.backbone.patch_shape)  # (B, N, P)
        target = model.head.target(patches, *model.pixel_stats())
        target = target[decoded].view(len(clip), -1, patches.shape[-1])  # -> (B, Kd, P)
        filled = fill_in(decoder, decoder.embed(tokens), unseen, decoded)
        prediction = decoder.head(decoder.norm(filled))
        return model.rec_weight * F.mse_loss(prediction.float(), target)

    def alignment_losses(
        self,
        layers: list[Tensor],
        teacher_layers: list[Tensor],
        unseen: Tensor,
        masked: Tensor,
        generated: Tensor,
    ) -> dict[str, Tensor]:
        """Direct and generation alignment, averaged over the layer pairs."""
        neck, weights = self.model.neck, self.model.lessons[''].weights
        direct, generation = [], []
        for index, (layer, known) in enumerate(zip(layers, teacher_layers)):
            batch, _, dims = known.shape
            features = known.new_zeros(*unseen.shape, dims)  # (B, N, Ct)
            features[~masked] = known.flatten(0, 1)
            project, generator = neck.projections[index], neck.generators[index]
            seen_features = features[~unseen].view(batch, -1, dims)
            direct.append(neck.loss_module(project(layer), seen_features))
            made = fill_in(generator, project(layer), unseen, generated)
            generation.append(neck.loss_module(made, features[generated].view(batch, -1, dims)))
        return dict(
            loss_direct=weights['direct'] * torch.stack(direct).mean(),
            loss_generation=weights['generation'] * torch.stack(generation).mean(),
        )


def embed(backbone: VideoVisionTransformer, clip: Tensor, masked: Tensor) -> Tensor:
    """Embed all tokens and keep those that are not masked, (B, K, C)."""
    tokens = backbone.patch_embed.projection(clip).flatten(2).transpose(1, 2)  # (B, N, C)
    tokens = tokens + backbone.pos_embed.type_as(tokens)
    return tokens[~masked].view(len(clip), -1, tokens.shape[-1])


def fill_in(blocks: nn.Module, known: Tensor, unseen: Tensor, wanted: Tensor) -> Tensor:
    """Append mask tokens at the wanted places and run the blocks, (B, K, C)."""
    batch, _, dims = known.shape
    positions = blocks.pos_embed.expand(batch, -1, -1).type_as(known).clone()
    known = known + positions[~unseen].view(batch, -1, dims)
    asked = blocks.mask_token + positions[wanted].view(batch, -1, dims)
    tokens = torch.cat([known, asked], 1)
    for block in blocks.blocks:
        tokens = block(tokens)
    return tokens[:, -asked.shape[1] :]
