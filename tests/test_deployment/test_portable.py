"""The exported function computes what tools/test.py measures."""

import numpy as np
import pytest
import torch
from amd_mm.apis import load_encoder
from amd_mm.deployment import portable_classifier, portable_encoder
from mmaction.structures import ActionDataSample
from mmengine.config import ConfigDict
from mmpretrain.structures import DataSample

from .tiny_models import CLIP_PRETRAINING, CLIPS, IMAGES, build, read_config, save


def test_a_clip_is_classified_as_in_testing(tmp_path):
    cfg = read_config(CLIPS)
    model = build(cfg.model)
    program = portable_classifier(cfg, save(model, tmp_path / 'x.pth'))
    assert program.size == (3, 8, 32, 32) and program.input == 'clip'
    clips = program.example(2)
    tested = model.test_step(
        dict(
            inputs=[clip[None] for clip in clips],  # of one view
            data_samples=[ActionDataSample() for _ in clips],
        )
    )
    scores = torch.stack([sample.pred_score for sample in tested])
    torch.testing.assert_close(program(clips).softmax(1), scores)


@pytest.mark.parametrize('to_rgb', [True, False])
def test_an_image_is_classified_as_in_testing(tmp_path, to_rgb):
    """Images are loaded as BGR; a program takes RGB, whatever is inside."""
    cfg = read_config(IMAGES)
    cfg.model.data_preprocessor.to_rgb = to_rgb
    model = build(cfg.model)
    program = portable_classifier(cfg, save(model, tmp_path / 'x.pth'))
    assert program.size == (3, 16, 16) and program.input == 'image'
    images = program.example(2)
    tested = model.test_step(
        dict(inputs=list(images.flip(1)), data_samples=[DataSample() for _ in images])
    )
    scores = torch.stack([sample.pred_score for sample in tested])
    torch.testing.assert_close(program(images).softmax(1), scores)
    expected = [123.675, 116.28, 103.53]
    assert program.mean == (expected if to_rgb else expected[::-1])


@pytest.mark.parametrize(
    'name, build_program', [(CLIPS, portable_classifier), (IMAGES, portable_encoder)]
)
def test_normalising_inside_or_before_is_the_same(tmp_path, name, build_program):
    cfg = read_config(name)
    checkpoint = save(build(cfg.model), tmp_path / 'x.pth')
    inside = build_program(cfg, checkpoint)
    before = build_program(cfg, checkpoint, 'normalised')
    pixels = inside.example(2)
    assert pixels.dtype == torch.uint8
    axes = (3, *[1] * (pixels.ndim - 2))
    mean = np.array(before.mean, dtype='float32').reshape(axes)
    std = np.array(before.std, dtype='float32').reshape(axes)
    values = torch.from_numpy((pixels.numpy() - mean) / std)
    torch.testing.assert_close(inside(pixels), before(values))
    torch.testing.assert_close(before.example(2), values)
    assert before.dtype == torch.float32


def test_features_of_clips_are_those_of_extract_features(tmp_path):
    cfg = read_config(CLIP_PRETRAINING)
    checkpoint = save(build(cfg.model), tmp_path / 'x.pth')
    program = portable_encoder(cfg, checkpoint)
    clips = program.example(2)
    with torch.no_grad():
        expected = load_encoder((cfg, checkpoint))(clips)
    torch.testing.assert_close(program(clips), expected)
    assert program.output == 'features' and program.num_outputs() == 96


def test_a_linear_probe_is_a_classifier(tmp_path):
    cfg = read_config(CLIPS)
    cfg.model.type = 'amd_mm.FrozenBackboneRecognizer'
    cfg.model.backbone.update(use_mean_pooling=False, return_feat_map=True)
    cfg.model.cls_head = ConfigDict(type='amd_mm.LinearProbeHead', num_classes=8, in_channels=96)
    model = build(cfg.model)
    program = portable_classifier(cfg, save(model, tmp_path / 'x.pth'), 'normalised')
    clips = program.example(2)
    with torch.no_grad():
        expected = model.cls_head(model.backbone(clips))
    torch.testing.assert_close(program(clips), expected)


def test_a_teacher_stays_behind(tmp_path):
    """Not even its checkpoint has to be there."""
    cfg = read_config(IMAGES)
    checkpoint = save(build(cfg.model), tmp_path / 'x.pth')
    plain = portable_classifier(cfg, checkpoint)
    cfg.model.update(
        type='amd_mm.LogitDistilledClassifier',
        teacher=dict(type='amd_mm.FrozenClassifier', checkpoint='gone.pth'),
    )
    distilled = portable_classifier(cfg, checkpoint)
    images = plain.example(2)
    torch.testing.assert_close(distilled(images), plain(images))
    assert distilled.state_dict().keys() == plain.state_dict().keys()


def test_mmpretrain_s_vit_is_exported_too(tmp_path):
    """It is built as ours, which computes the same, compiles nothing and loads nothing."""
    cfg = read_config(IMAGES)
    cfg.model.backbone = ConfigDict(
        type='mmpretrain.VisionTransformer', arch='deit-tiny', img_size=32, out_type='cls_token'
    )
    cfg.model.head.in_channels = 192
    model = build(cfg.model)
    checkpoint = save(model, tmp_path / 'x.pth')
    cfg.model.backbone.update(pretrained='gone.pth', compile_blocks=True)
    program = portable_classifier(cfg, checkpoint, 'normalised')
    assert cfg.model.backbone.pretrained == 'gone.pth'  # the caller's config
    images = program.example(2)
    with torch.no_grad():
        expected = model(images.flip(1) if program.bgr else images)
    torch.testing.assert_close(program(images), expected)
