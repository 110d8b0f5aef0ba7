"""The bare encoder, loaded by the code of others."""

import hashlib
import os
from pathlib import Path

import pytest
import torch
from amd_mm.checkpoints import FORMATS, load_encoder, publish_encoder, read_checkpoint, to_amd_mm
from amd_mm.registry import MODELS
from mmengine.runner import load_checkpoint
from torch import nn

from ..golden import draw_state, load_golden
from ..test_tools.tool_scripts import load_tool
from .plain_vit import PlainViT
from .tiny_models import (
    CLIP_PRETRAINING,
    CLIPS,
    IMAGE_PRETRAINING,
    IMAGES,
    build,
    fill_with_noise,
    read_config,
    save,
)

export = load_tool('export')


def publish(folder, name, codebase, capsys, suffix='.pth', seed=0):
    """A model of a config, and the path of its encoder."""
    cfg = read_config(name)
    model = build(cfg.model, seed)
    checkpoint = save(model, folder / 'epoch_3.pth')
    out = folder / f'vit{suffix}'
    export.main([checkpoint, str(out), '--format', codebase])
    path, _, _ = capsys.readouterr().out.partition(': ')
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert path == str(folder / f'vit-{digest[:8]}{suffix}')
    return cfg, model, path


def pixels_for(cfg, model):
    shape = (3, *model.backbone.token_grid)
    sides = (1, *model.backbone.patch_shape)
    size = [one * side for one, side in zip(shape, sides)]
    clips = torch.randn(2, *size, generator=torch.Generator().manual_seed(1))
    return clips if model.backbone.input_dims == 5 else clips[:, :, 0]


def stock_of(cfg, type_):
    """The backbone of a config, built by its own codebase."""
    backbone = {
        key: value
        for key, value in cfg.model.backbone.items()
        if key not in ('pos_embed_type', 'use_learnable_pos_emb')
    }
    stock = MODELS.build(dict(backbone, type=type_))
    stock.eval()  # MMPretrain's returns None
    return stock


@pytest.mark.parametrize('name', [CLIPS, CLIP_PRETRAINING])
def test_mmaction_s_own_vit_computes_the_same(tmp_path, capsys, name):
    cfg, model, path = publish(tmp_path, name, 'mmaction', capsys)
    stock = stock_of(cfg, 'mmaction.VisionTransformer')
    state = torch.load(path, weights_only=True)['state_dict']
    assert all(one.startswith('backbone.') for one in state)
    # As init_cfg=dict(type='Pretrained', prefix='backbone.') does, strictly.
    load_checkpoint(nn.ModuleDict(dict(backbone=stock)), path, strict=True)
    clips = pixels_for(cfg, model)
    torch.testing.assert_close(stock(clips), model.backbone(clips))


@pytest.mark.parametrize('name', [IMAGES, IMAGE_PRETRAINING])
def test_mmpretrain_s_own_vit_computes_the_same(tmp_path, capsys, name):
    cfg, model, path = publish(tmp_path, name, 'mmpretrain', capsys)
    stock = stock_of(cfg, 'mmpretrain.VisionTransformer')
    load_checkpoint(nn.ModuleDict(dict(backbone=stock)), path, strict=True)
    images = pixels_for(cfg, model)
    torch.testing.assert_close(stock(images), model.backbone(images))


@pytest.mark.parametrize('name', [CLIPS, CLIP_PRETRAINING])
def test_a_plain_vit_in_timm_s_names_computes_the_same(tmp_path, capsys, name):
    cfg, model, path = publish(tmp_path, name, 'timm', capsys)
    backbone, mean = model.backbone, name == CLIPS
    plain = PlainViT(
        backbone.embed_dims,
        backbone.depth,
        backbone.num_heads,
        backbone.patch_shape,
        backbone.pos_embed.shape[1],
        mean,
    )
    plain.load_state_dict(torch.load(path, weights_only=True)['model'])
    clips = pixels_for(cfg, model)
    expected = backbone(clips) if mean else backbone.encode(backbone.patchify(clips)).tokens
    torch.testing.assert_close(plain(clips), expected)


@pytest.mark.parametrize('name', [IMAGES, IMAGE_PRETRAINING])
def test_timm_itself(tmp_path, capsys, name):
    timm = pytest.importorskip('timm')
    cfg, model, path = publish(tmp_path, name, 'timm', capsys)
    backbone = model.backbone
    vit = timm.create_model(
        'vit_base_patch16_224',
        checkpoint_path=path,
        img_size=16,
        patch_size=4,
        embed_dim=backbone.embed_dims,
        depth=backbone.depth,
        num_heads=backbone.blocks[0].attn.num_heads,
        num_classes=0,
        global_pool='avg' if name == IMAGES else 'token',
    ).eval()
    images = pixels_for(cfg, model)
    torch.testing.assert_close(vit(images), backbone(images)[-1])


def test_hugging_face_gets_the_published_names_of_the_encoder(tmp_path):
    public = draw_state(load_golden('videomae_hf')['names'], 'hf')
    encoder = {name: tensor for name, tensor in public.items() if name.startswith('videomae.')}
    found = publish_encoder(to_amd_mm(public).state, tmp_path / 'x.pth', 'huggingface')
    assert {one.partition('.')[0] for one in found.left} == {'decoder'}
    state = torch.load(found.path, weights_only=True)
    assert state.keys() == encoder.keys() == set(found.names)
    assert all(torch.equal(state[name], encoder[name]) for name in state)


def test_only_the_encoder_is_in_the_file(tmp_path, capsys):
    _, model, path = publish(tmp_path, CLIPS, 'mmaction', capsys)
    content = torch.load(path, weights_only=True)
    assert set(content) == {'state_dict', 'meta'}
    assert content['meta']['exported_from'] == 'epoch_3.pth'
    state = content['state_dict']
    expected = model.backbone.state_dict(prefix='backbone.')
    assert state.keys() == expected.keys()
    # And not the second, averaged copy.
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert sorted(os.listdir(tmp_path)) == ['epoch_3.pth', os.path.basename(path)]
    # The name tells the weights, and .safetensors hold the same ones.
    assert publish(tmp_path, CLIPS, 'mmaction', capsys)[2] == path
    assert publish(tmp_path, CLIPS, 'mmaction', capsys, seed=1)[2] != path
    *_, other = publish(tmp_path, CLIPS, 'mmaction', capsys, '.safetensors')
    read = read_checkpoint(other)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize('codebase', ['mmaction', 'timm'])
def test_what_is_written_can_be_read_again(tmp_path, capsys, codebase):
    cfg, model, path = publish(tmp_path, CLIPS, codebase, capsys)
    cfg.model.backbone.init_cfg = None
    other = fill_with_noise(MODELS.build(cfg.model.backbone), seed=5)
    report = load_encoder(other, path, logger='silent')
    assert report.fmt in ('amd_mm', 'timm_video') and not report.missing
    clips = pixels_for(cfg, model)
    torch.testing.assert_close(other(clips), model.backbone(clips))


def test_a_bias_of_the_key_changes_nothing():
    """So a ViT that has one, in timm's names, can be read."""
    plain = fill_with_noise(PlainViT(48, 2, 3, (2, 4, 4), 16, mean=True))
    ours = MODELS.build(
        dict(
            type='amd_mm.VideoVisionTransformer',
            img_size=8,
            patch_size=4,
            num_frames=8,
            embed_dims=48,
            depth=2,
            num_heads=3,
            use_learnable_pos_emb=True,
        )
    ).eval()
    report = load_encoder(ours, plain.state_dict(), logger='silent')
    assert report.fmt == 'timm_video' in FORMATS
    clips = torch.randn(2, 3, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(clips), plain(clips))
