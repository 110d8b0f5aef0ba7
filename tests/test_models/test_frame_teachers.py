"""Image models that teach a video student: the features equal the library's own call."""

import copy

import pytest
import torch
import torch.nn.functional as F
from amd_mm.models.teachers import standardize_channels
from amd_mm.models.utils import IMAGENET_MEAN, IMAGENET_STD, patchify
from amd_mm.registry import MODELS

from tests.tiny import MEAN, STD, backbone
from tests.tiny_image import image_backbone

GRID, TUBELET = (4, 4, 4), 2
IDS = torch.tensor([[0, 5, 17, 63], [62, 3, 2, 1]])  # (B, K), in no order


def clip_and_student():
    """RGB clip (B, C, T, H, W) up to 255, the student's patches of it, and its backbone."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 8, 64, 64, generator=generator) * 255
    view = (-1, 1, 1, 1)
    clip = (pixels - torch.tensor(MEAN).view(view)) / torch.tensor(STD).view(view)
    return pixels, patchify(clip, (TUBELET, 16, 16)), MODELS.build(backbone())


def build(cfg, student, **other):
    torch.manual_seed(0)
    teacher = MODELS.build(dict(cfg, **other))
    teacher.set_student(student, torch.tensor(MEAN), torch.tensor(STD))
    return teacher


def frames_for(pixels, mean, std, size=64):
    """First frames of tubelets (B * T', C, size, size), normalised with values up to 1."""
    frames = pixels[:, :, ::TUBELET].transpose(1, 2).flatten(0, 1) / 255
    frames = (frames - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    if size != 64:
        frames = F.interpolate(frames, size, mode='bicubic', antialias=True)
    return frames


def of_tokens(features):
    """Features (B * T', patches, C) at the tokens ``IDS``: (B, K, C)."""
    every = features.reshape(2, -1, features.shape[-1])
    return torch.stack([row[ids] for row, ids in zip(every, IDS)])


def check(teacher, patches, expected, atol=1e-4):
    for mine, theirs in zip(teacher(patches, IDS), expected, strict=True):
        assert mine.shape == (2, 4, teacher.embed_dims) and mine.dtype == torch.float32
        torch.testing.assert_close(mine, of_tokens(theirs), rtol=1e-3, atol=atol)


OURS = dict(type='amd_mm.ImageTeacher', backbone=image_backbone(32, 3, 2), random_init=True)


def test_our_vit_sees_first_frames_in_its_own_normalisation():
    pixels, patches, student = clip_and_student()
    half = [127.5] * 3
    teacher = build(OURS, student, layers=[1, 3], mean=half, std=half)
    assert len(teacher.backbone.layers) == 3
    frames = frames_for(pixels, [0.5] * 3, [0.5] * 3)
    encoded = teacher.backbone.encode(teacher.backbone.patchify(frames), layers=[1, 3])
    check(teacher, patches, [layer[:, 1:] for layer in encoded.layers])


def test_other_patches_are_resized_or_interpolated(monkeypatch):
    logged = []
    monkeypatch.setattr(
        'amd_mm.models.frame_teachers.print_log', lambda text, **_: logged.append(text)
    )
    pixels, patches, student = clip_and_student()
    vit = dict(OURS['backbone'], patch_size=8, img_size=32)
    teacher = build(dict(OURS, backbone=vit), student, layers=[2])
    frames = frames_for(pixels, *scaled(IMAGENET_MEAN, IMAGENET_STD), size=32)
    encode = teacher.backbone.encode
    (layer,) = encode(teacher.backbone.patchify(frames), layers=[2]).layers
    check(teacher, patches, [layer[:, 1:]])
    assert not logged
    teacher = build(dict(OURS, backbone=vit), student, layers=[2], img_size=64)  # 8 x 8 patches
    frames = frames_for(pixels, *scaled(IMAGENET_MEAN, IMAGENET_STD))
    parts = teacher.backbone.patchify(frames)
    (layer,) = teacher.backbone.encode(parts, layers=[2], grid=(1, 8, 8)).layers
    maps = layer[:, 1:].transpose(1, 2).unflatten(2, (8, 8))
    check(teacher, patches, [F.avg_pool2d(maps, 2).flatten(2).transpose(1, 2)])
    assert logged == [
        "The teacher's features are interpolated from (8, 8) to (4, 4) tokens of a frame"
    ]


def scaled(mean, std):
    return [value / 255 for value in mean], [value / 255 for value in std]


def test_layer_norm():
    _, patches, student = clip_and_student()
    raw, normed = (build(OURS, student, layers=[2], layer_norm=on) for on in (False, True))
    (raw,), (normed,) = raw(patches, IDS), normed(patches, IDS)
    torch.testing.assert_close(normed, F.layer_norm(raw, (32,), eps=1e-6))


@pytest.mark.parametrize('layer_norm', [False, True])
def test_standardized_channels(layer_norm):
    _, patches, student = clip_and_student()
    cfg = dict(OURS, layer_norm=layer_norm)
    raw, standardized = (build(cfg, student, layers=[2], standardize=on) for on in (False, True))
    (raw,), (standardized,) = raw(patches, IDS), standardized(patches, IDS)
    torch.testing.assert_close(standardized, standardize_channels(raw))
    torch.testing.assert_close(standardized.std((0, 1)), torch.ones(32))


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(random_init=False), 'the teacher needs weights'),
        (dict(layers=[4]), 'block 4 of the teacher'),
        (dict(img_size=60), 'multiple of its patches'),
        (dict(mean=[0.0], std=[1.0]), 'video students of 1 channels'),
    ],
)
def test_contradictions_are_named(change, words):
    _, _, student = clip_and_student()
    with pytest.raises(ValueError, match=words):
        build(dict(OURS, layers=[2]) | change, student)


SMALL = dict(embed_dim=32, depth=3, num_heads=2)
TIMM = {
    'vit_small_patch16_224': {},
    'vit_small_patch14_reg4_dinov2': {},
    'vit_small_patch16_dinov3': {},
    'vit_base_patch16_siglip_224': {},
    'vit_base_patch16_clip_224': {},
}


@pytest.mark.parametrize('name', TIMM)
def test_timm(name, monkeypatch):
    timm = pytest.importorskip('timm', reason='needs timm')
    pixels, patches, student = clip_and_student()
    cfg = dict(type='amd_mm.TimmTeacher', model=f'timm/{name}', random_init=True, model_args=SMALL)
    teacher = build(cfg, student, layers=[1, 2])
    assert len(teacher.backbone.blocks) == 2
    torch.manual_seed(0)
    own = timm.create_model(name, num_classes=0, dynamic_img_size=True, **SMALL).eval()
    size = 4 * own.patch_embed.patch_size[0]
    frames = frames_for(pixels, own.pretrained_cfg['mean'], own.pretrained_cfg['std'], size)
    with torch.no_grad():
        theirs = own.forward_intermediates(
            frames, indices=[0, 1], output_fmt='NLC', intermediates_only=True
        )
    check(teacher, patches, theirs)


def test_timm_from_a_folder(tmp_path):
    timm = pytest.importorskip('timm', reason='needs timm')
    from timm.models import save_for_hf

    own = timm.create_model('vit_small_patch16_224', **SMALL)
    save_for_hf(own, tmp_path, model_args=SMALL)
    cfg = dict(type='amd_mm.TimmTeacher', model=str(tmp_path), layers=[3])
    teacher = MODELS.build(cfg)
    torch.testing.assert_close(
        teacher.backbone.blocks[2].mlp.fc1.weight, own.blocks[2].mlp.fc1.weight.detach()
    )


@pytest.mark.parametrize('model', ['resnet18', 'no_such_vit'])
def test_timm_without_such_a_vit(model):
    pytest.importorskip('timm', reason='needs timm')
    cfg = dict(type='amd_mm.TimmTeacher', model=model, layers=[1], random_init=True)
    with pytest.raises(ValueError, match=f"no ViT from teacher.model='{model}'"):
        MODELS.build(cfg)


def transformers_models():
    """Name of a model -> its class and configuration, as small as possible."""
    vit = dict(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=64, patch_size=16
    )
    wide = dict(vit, intermediate_size=64)
    text = dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=99,
    )
    return dict(
        ViT=wide,
        Dinov2=dict(vit, patch_size=14, image_size=70),
        Dinov2WithRegisters=dict(vit, patch_size=14, num_register_tokens=4),
        DINOv3ViT=dict(wide, num_register_tokens=4),
        Siglip=dict(vision_config=wide, text_config=text),
        CLIP=dict(vision_config=wide, text_config=text),
    )


@pytest.mark.parametrize('name', transformers_models())
def test_transformers_from_a_folder(name, tmp_path):
    transformers = pytest.importorskip('transformers', reason='needs transformers')
    config = getattr(transformers, f'{name}Config')(**transformers_models()[name])
    own = getattr(transformers, f'{name}Model')(config).eval()
    own.save_pretrained(tmp_path)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    cfg = dict(type='amd_mm.TransformersTeacher', model=str(tmp_path), layers=[1, 2])
    with pytest.raises(ValueError, match='transformers cannot read'):
        MODELS.build(dict(cfg, model=str(tmp_path / 'nowhere')))
    with pytest.raises(ValueError, match='preprocessor_config.json'):
        MODELS.build(copy.deepcopy(cfg))
    notes = f'{{"image_mean": {mean}, "image_std": {std}}}'
    (tmp_path / 'preprocessor_config.json').write_text(notes)
    pixels, patches, student = clip_and_student()
    teacher = build(cfg, student)
    if name in ('Siglip', 'CLIP'):
        own = getattr(transformers, f'{name}VisionModel').from_pretrained(tmp_path).eval()
    frames = frames_for(pixels, mean, std, 4 * own.config.patch_size)
    resizes = dict(interpolate_pos_encoding=True) if name in ('Siglip', 'CLIP', 'ViT') else {}
    with torch.no_grad():
        states = own(frames, output_hidden_states=True, **resizes).hidden_states
    check(teacher, patches, [states[number][:, -16:] for number in (1, 2)])
