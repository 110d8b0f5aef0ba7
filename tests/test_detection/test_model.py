"""The detector's own pieces: feature maps, padding, batches, pooling."""

import pytest
import torch
import torch.nn.functional as F
from amd_mm.checkpoints import CheckpointMismatchError
from amd_mm.registry import MODELS
from mmaction.models.backbones import VisionTransformer
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from torch import nn

from .. import tiny
from .needed import skip_without_mmdet
from .tiny_detector import CLASSES, SMALL, tiny_model

BACKBONE = dict(tiny.backbone(), type='amd_mm.FeatureMapVisionTransformer', depth=2)
BACKBONE.pop('use_mean_pooling')


def build(**other):
    torch.manual_seed(0)
    vit = MODELS.build(dict(BACKBONE, **other))
    vit.init_weights()
    return vit.eval()


def checkpoint(path, fine_tuned):
    """A recogniser's or a masked autoencoder's weights, of random norms."""
    vit = MODELS.build(dict(tiny.backbone(depth=2), use_mean_pooling=fine_tuned))
    norm = vit.fc_norm if fine_tuned else vit.norm
    nn.init.normal_(norm.weight)
    other = 'cls_head.fc_cls.weight' if fine_tuned else 'decoder.mask_token'
    state = {f'backbone.{name}': t for name, t in vit.state_dict().items()}
    torch.save(dict(state_dict={**state, other: torch.zeros(1, 48)}), path)
    return norm.weight, state


@pytest.mark.parametrize('fine_tuned, name', [(True, 'fc_norm'), (False, 'norm')])
def test_norm_of_the_map(tmp_path, fine_tuned, name):
    path = tmp_path / 'weights.pth'
    weight, state = checkpoint(path, fine_tuned)
    log = tmp_path / 'run.log'
    MMLogger.get_instance(f'norm_{name}', log_file=str(log))
    vit = build(pretrained=str(path))
    assert torch.equal(vit.norm.weight, weight)
    assert vit.fc_norm is None
    assert torch.equal(vit.blocks[1].attn.proj.weight, state['backbone.blocks.1.attn.proj.weight'])
    # The detector's own checkpoint has one name for it.
    assert not any('fc_norm' in key for key in vit.state_dict())
    assert f"norm is {path}'s {name}:" in log.read_text()
    # Every token is normed by it.
    nn.init.zeros_(vit.norm.weight)
    nn.init.constant_(vit.norm.bias, 3.0)
    assert (vit(torch.rand(1, 3, 8, 64, 64)) == 3).all()


def test_norm_from_other_prefix(tmp_path):
    weight, state = checkpoint(tmp_path / 'weights.pth', True)
    other = {key.replace('backbone.', 'student.'): value for key, value in state.items()}
    path = str(tmp_path / 'other.pth')
    torch.save(other, path)
    vit = build(init_cfg=dict(type='Pretrained', checkpoint=path, prefix='student.'))
    assert torch.equal(vit.norm.weight, weight)


def test_checkpoint_without_a_norm_is_an_error(tmp_path):
    _, state = checkpoint(tmp_path / 'weights.pth', False)
    state = {k: v for k, v in state.items() if '.norm.' not in k}
    path = str(tmp_path / 'less.pth')
    torch.save(state, path)
    with pytest.raises(CheckpointMismatchError, match=r'norm\.'):
        build(pretrained=path)


def test_other_frames_as_in_mmaction():
    """At another size than in pre-training, the same map as MMAction2's ViT."""
    size = dict(img_size=64, num_frames=8, embed_dims=24, num_heads=2)
    ours = build(**size)
    theirs = VisionTransformer(depth=2, use_mean_pooling=False, return_feat_map=True, **size).eval()
    theirs.load_state_dict(ours.state_dict())
    clip = torch.rand(1, 3, 8, 80, 112)
    with torch.no_grad():
        found, expected = ours(clip), theirs(clip)
    assert found.shape == (1, 24, 4, 5, 7)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('frames, height, width', [(8, 64, 64), (8, 48, 112), (12, 80, 48)])
def test_positions_of_the_map(frames, height, width):
    """Each place of the map has the table's value there, in space and time."""
    vit = build()
    vit.blocks, vit.norm = nn.ModuleList(), nn.Identity()
    for parameter in vit.patch_embed.parameters():
        nn.init.zeros_(parameter)
    found = vit(torch.rand(1, 3, frames, height, width))[0]
    grid = (frames // 2, height // 16, width // 16)
    table = vit.pos_embed[0].T.reshape(48, 4, 4, 4)
    table = F.interpolate(table.transpose(0, 1), grid[1:], mode='bicubic').transpose(0, 1)
    table = F.interpolate(table.flatten(2).transpose(1, 2), grid[0], mode='linear')
    expected = table.transpose(1, 2).reshape(48, *grid)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_map_is_float32_under_autocast():
    vit = build()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert vit(torch.rand(1, 3, 8, 64, 64)).dtype == torch.float32


def test_frames_are_padded_to_whole_patches():
    preprocessor = MODELS.build(
        dict(type='amd_mm.PaddedClipPreprocessor', mean=tiny.MEAN, std=tiny.STD, size_divisor=16)
    )
    clips = [
        torch.randint(256, (3, 4, 48, 70), dtype=torch.uint8),
        torch.randint(256, (3, 4, 33, 64), dtype=torch.uint8),
    ]
    samples = [ActionDataSample(), ActionDataSample()]
    batch = preprocessor(dict(inputs=clips, data_samples=samples))['inputs']
    assert batch.shape == (2, 3, 4, 48, 80) and batch.dtype == torch.float32
    mean = torch.tensor(tiny.MEAN).view(3, 1, 1, 1)
    std = torch.tensor(tiny.STD).view(3, 1, 1, 1)
    for padded, clip in zip(batch, clips):
        height, width = clip.shape[2:]
        torch.testing.assert_close(padded[..., :height, :width], (clip - mean) / std)
        # The mean colour, that is zero.
        assert (padded[..., height:, :] == 0).all()
        assert (padded[..., width:] == 0).all()


def detector():
    skip_without_mmdet()
    torch.manual_seed(0)
    model = MODELS.build(tiny_model(Config.fromfile(SMALL).model))
    model.init_weights()
    return model.eval()


def sample(shape, boxes):
    """Data of one clip with its proposals, in pixels."""
    made = ActionDataSample()
    made.proposals = InstanceData(bboxes=torch.tensor(boxes))
    made.set_metainfo(dict(img_shape=shape))
    clip = torch.randint(256, (3, 8, *shape), dtype=torch.uint8)
    return clip, made


def predict(model, pairs):
    clips, samples = zip(*((clip, sample.clone()) for clip, sample in pairs))
    batch = dict(inputs=list(clips), data_samples=list(samples))
    with torch.no_grad():
        return [one.pred_instances for one in model.test_step(batch)]


def test_a_batch_of_padded_clips_as_each_alone():
    model = detector()
    pairs = [
        sample((48, 64), [[2.0, 3.0, 30.0, 40.0], [10.0, 8.0, 60.0, 44.0]]),
        sample((48, 64), [[0.0, 0.0, 64.0, 48.0]]),
        sample((40, 90), [[10.0, 8.0, 88.0, 39.0]]),
    ]
    for (_, given), found in zip(pairs, predict(model, pairs)):
        height, width = given.img_shape
        size = torch.tensor([width, height, width, height])
        torch.testing.assert_close(found.bboxes, given.proposals.bboxes / size)
        assert found.scores.shape == (len(found.bboxes), CLASSES)
    together = predict(model, pairs[:2])
    for pair, found in zip(pairs, together):
        (alone,) = predict(model, [pair])
        torch.testing.assert_close(found.bboxes, alone.bboxes)
        torch.testing.assert_close(found.scores, alone.scores, atol=1e-5, rtol=1e-4)
