"""What the public programs compute comes out of converted weights."""

import pytest
import torch
from amd_mm.checkpoints import load_into
from amd_mm.models.backbones import VideoVisionTransformer
from amd_mm.models.mask_generators import TokenPartition
from amd_mm.registry import MODELS
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmaction.models.heads import TimeSformerHead
from torch import nn

from ..golden import assert_close, draw_input, draw_state, load_golden

INPUTS = (2, 3, 8, 64, 64)
BACKBONE = dict(img_size=64, embed_dims=48, num_heads=3, num_frames=8)


class Recogniser(nn.Module):
    """Backbone and head under MMAction2's names."""

    def __init__(self, cls, depth, classes):
        super().__init__()
        self.backbone = cls(depth=depth, **BACKBONE)
        self.cls_head = TimeSformerHead(classes, BACKBONE['embed_dims'])
        self.eval()

    @torch.no_grad()
    def forward(self, clip):
        features = self.backbone(clip)
        return features, self.cls_head(features)


@pytest.mark.parametrize('cls', [VisionTransformer, VideoVisionTransformer])
def test_public_fine_tuned_model(cls):
    golden = load_golden('finetune_video')
    model = Recogniser(cls, depth=3, classes=7)
    load_into(model, draw_state(golden['names'], 'finetune'))
    features, logits = model(draw_input('inputs', INPUTS))
    assert_close(features, golden['features'])
    assert_close(logits, golden['logits'])


@pytest.mark.parametrize('cls', [VisionTransformer, VideoVisionTransformer])
def test_hugging_face_classifier(cls):
    golden = load_golden('videomae_hf')
    model = Recogniser(cls, depth=4, classes=2)
    load_into(model, draw_state(golden['cls_names'], 'hf_cls'))
    _, logits = model(draw_input('inputs', INPUTS))
    assert_close(logits, golden['logits'])


def test_hugging_face_pre_training():
    """Its target is per channel of [0, 1] pixels, as in public VideoMAE."""
    golden = load_golden('videomae_hf')
    model = MODELS.build(
        dict(
            type='amd_mm.MaskedAutoencoder',
            backbone=dict(
                type='amd_mm.VideoVisionTransformer', depth=4, use_mean_pooling=False, **BACKBONE
            ),
            mask_generator=dict(
                type='amd_mm.AsymmetricTubeMaskGenerator', student_ratio=0.75, teacher_ratio=0.75
            ),
            decoder=dict(type='amd_mm.PixelDecoder', embed_dims=24, depth=2, num_heads=3),
            head=dict(type='amd_mm.PixelReconstructionHead', target='per_channel'),
            data_preprocessor=dict(
                type='mmaction.ActionDataPreprocessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                format_shape='NCTHW',
            ),
        )
    )
    report = load_into(model, draw_state(golden['names'], 'hf'))
    assert not report.missing and not report.unexpected
    assert set(report.loaded) == {name for name, _ in model.named_parameters()}
    clip = draw_input('inputs', INPUTS)
    partition = TokenPartition.from_masks(torch.from_numpy(golden['mask_student']))
    losses = model.loss(clip, partition=partition)
    assert_close(losses['loss_rec'], golden['loss_rec'])
    tokens = model.backbone.encode(model.patches_of(clip), partition.visible).tokens
    prediction = model.decoder(tokens, partition.visible, partition.targets)
    assert_close(prediction[:, ::6, ::24], golden['pred'])
