"""A step of AMD or VideoMAE as it is usually written, for comparison.

On the weights of a model of ours, with MMAction2's own blocks: attention
whose matrix of weights is stored; a convolution over all tokens of which
boolean masks then keep some; every projection computed for the direct loss
and again for the generator; position tables expanded clip by clip; the target
of all tokens; the teacher in full depth, in float32 weights; and the losses
brought to the host in every step.
"""

import copy

import torch
from amd_mm.models import MaskedAutoencoder, SerialAlignment, TokenPartition, VideoVisionTransformer
from amd_mm.models.utils import patchify, token_mask
from amd_mm.registry import MODELS
from mmengine.config import ConfigDict
from torch import Tensor, nn


class NotPlainError(ValueError):
    """There is no plain way of what a config asks for."""


def plain_config(cfg: ConfigDict) -> ConfigDict:
    """The model's config with MMAction2's own attention everywhere.

    Args:
        cfg (ConfigDict): Of a ``MaskedAutoencoder`` or ``AMD`` on video.

    Returns:
        ConfigDict: A changed copy.

    Raises:
        NotPlainError: If the plain way is not written for such a model.
    """
    cfg = copy.deepcopy(cfg)
    backbone = MODELS.get(cfg.backbone.type)
    if backbone is not VideoVisionTransformer:
        raise NotPlainError(
            'the plain way is written for video '
            '(amd_mm.VideoVisionTransformer), and the '
            f'backbone is {cfg.backbone.type}'
        )
    parts = [cfg.backbone, cfg.get('decoder')]
    if cfg.get('teacher'):
        if MODELS.get(cfg.neck.type) is not SerialAlignment:
            raise NotPlainError(
                f'the plain way is written for the neck amd_mm.SerialAlignment, not {cfg.neck.type}'
            )
        parts += [cfg.neck, cfg.teacher.backbone]
        cfg.teacher.dtype = 'float32'
    for part in filter(None, parts):
        part.fused_attention = False
    cfg.compile_blocks = False
    return cfg


def whole_teacher(model: MaskedAutoencoder, cfg: ConfigDict) -> VideoVisionTransformer | None:
    """The teacher with the blocks after its last layer, which ours leaves out.

    Args:
        model (MaskedAutoencoder): Whose teacher's weights are taken.
        cfg (ConfigDict): From :func:`plain_config`.

    Returns:
        VideoVisionTransformer | None: In float32; None without a teacher.
    """
    if getattr(model, 'teacher', None) is None:
        return None
    teacher = MODELS.build(cfg.teacher.backbone)
    teacher.load_state_dict(model.teacher.backbone.state_dict(), strict=False)
    return teacher.requires_grad_(False).eval()


class PlainParts:
    """The parts of a step on (B, C, T, H, W) normalised clips.

    Args:
        model (MaskedAutoencoder): Built from :func:`plain_config`.
        teacher (VideoVisionTransformer, optional): From
            :func:`whole_teacher`.
    """

    def __init__(self, model: MaskedAutoencoder, teacher: VideoVisionTransformer | None) -> None:
        self.model = model
        self.whole_teacher = teacher

    @torch.no_grad()
    def teacher(self, clip: Tensor, partition: TokenPartition) -> list[Tensor]:
        """Layers (B, Kv + Ke, C), tokens in the order of the clip."""
        _, hidden = _masks(partition)
        tokens = _embed(self.whole_teacher, clip, hidden)
        layers = []
        for number, block in enumerate(self.whole_teacher.blocks, start=1):
            tokens = block(tokens)
            if number in self.model.teacher.layers:
                layers.append(tokens)
        self.whole_teacher.norm(tokens)
        return layers

    def student(self, clip: Tensor, partition: TokenPartition) -> tuple[Tensor, list[Tensor]]:
        """Normed tokens (B, Kv, C), and the layers."""
        backbone = self.model.backbone
        tokens = _embed(backbone, clip, _masks(partition)[0])
        layers = []
        for number, block in enumerate(backbone.blocks, start=1):
            tokens = block(tokens)
            if number in getattr(self.model, 'student_layers', ()):
                layers.append(tokens)
        return backbone.norm(tokens), layers

    def neck(
        self, layers: list[Tensor], theirs: list[Tensor], partition: TokenPartition
    ) -> dict[str, Tensor]:
        """The two alignment losses, weighted."""
        unseen, hidden = _masks(partition)
        extra = token_mask(partition.generation_targets, partition.num_tokens)
        neck, weights = self.model.neck, self.model.loss_weights
        direct, generated = [], []
        for number, layer in enumerate(layers):
            batch, _, dims = theirs[number].shape
            features = theirs[number].new_zeros(*unseen.shape, dims)
            features[~hidden] = theirs[number].flatten(0, 1)
            projection = neck.projections[number]
            direct.append(
                neck.loss_module(projection(layer), features[~unseen].view(batch, -1, dims))
            )
            made = _fill_in(neck.generators[number], projection(layer), unseen, extra)
            generated.append(neck.loss_module(made, features[extra].view(batch, -1, dims)))
        return dict(
            loss_direct=weights['direct'] * torch.stack(direct).mean(),
            loss_generation=weights['generation'] * torch.stack(generated).mean(),
        )

    def target(self, clip: Tensor, partition: TokenPartition) -> Tensor:
        """(B, Kd, P), what is to be predicted."""
        model = self.model
        patches = patchify(clip, model.backbone.patch_shape)
        everything = model.head.target(patches, *model.pixel_stats())
        wanted = token_mask(partition.targets, partition.num_tokens)
        return everything[wanted].view(len(clip), -1, patches.shape[-1])

    def decoder(self, tokens: Tensor, target: Tensor, partition: TokenPartition) -> Tensor:
        """The reconstruction's loss, weighted."""
        decoder = self.model.decoder
        wanted = token_mask(partition.targets, partition.num_tokens)
        filled = _fill_in(decoder, decoder.embed(tokens), _masks(partition)[0], wanted)
        prediction = decoder.head(decoder.norm(filled))
        return self.model.rec_weight * nn.functional.mse_loss(prediction.float(), target)

    def losses(self, clip: Tensor, partition: TokenPartition) -> dict[str, Tensor]:
        """All of them together."""
        found = {}
        theirs = self.teacher(clip, partition) if self.whole_teacher is not None else None
        tokens, layers = self.student(clip, partition)
        if self.model.reconstructs:
            target = self.target(clip, partition)
            found['loss_rec'] = self.decoder(tokens, target, partition)
        if theirs is not None:
            found.update(self.neck(layers, theirs, partition))
        return found


def _masks(partition: TokenPartition) -> tuple[Tensor, Tensor]:
    """(B, N) each, true: not seen by the student; not seen by the teacher."""
    number = partition.num_tokens
    return (~token_mask(partition.visible, number), ~token_mask(partition.teacher, number))


def _embed(backbone: VideoVisionTransformer, clip: Tensor, mask: Tensor) -> Tensor:
    """All tokens are embedded; those that are not masked are kept."""
    tokens = backbone.patch_embed.projection(clip).flatten(2).transpose(1, 2)
    tokens = tokens + backbone.pos_embed.type_as(tokens)
    return tokens[~mask].view(len(clip), -1, tokens.shape[-1])


def _fill_in(blocks: nn.Module, known: Tensor, unseen: Tensor, wanted: Tensor) -> Tensor:
    """Mask tokens at the places ``wanted``, through the blocks."""
    batch, _, dims = known.shape
    table = blocks.pos_embed.expand(batch, -1, -1).type_as(known).clone()
    seen_at = table[~unseen].view(batch, -1, dims)
    wanted_at = table[wanted].view(batch, -1, dims)
    stream = torch.cat([known + seen_at, blocks.mask_token + wanted_at], 1)
    for block in blocks.blocks:
        stream = block(stream)
    return stream[:, -wanted_at.shape[1] :]
