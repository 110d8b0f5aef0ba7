"""Views without copies and batches of one tensor: the same clips, cheaper."""

import numpy as np
import pytest
import torch
from amd_mm.datasets import (
    VideoFolderDataset,
    flatten_views_collate,
    seeded_randomness,
    stack_views_collate,
)
from amd_mm.datasets.transforms import RepeatedViews, views
from amd_mm.registry import FUNCTIONS, MODELS
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from .. import tiny
from ..conftest import REPOSITORY
from .pipelines import CROP, PACK, video_pipeline

DATA = REPOSITORY / 'configs' / '_base_' / 'datasets'
COLLATES = [flatten_views_collate, stack_views_collate]


def clip(size=(48, 64), frames=4, seed=0):
    rng = np.random.default_rng(seed)
    return dict(
        imgs=list(rng.integers(0, 256, (frames, *size, 3), dtype=np.uint8)),
        img_shape=size,
        original_shape=size,
        num_clips=1,
        clip_len=frames,
        modality='RGB',
        label=2,
    )


def with_stock_resize(transforms):
    return [
        dict(t, type='mmaction.Resize') if t['type'] == 'amd_mm.ResizeClip' else dict(t)
        for t in transforms
    ]


def views_of(transforms, seed, num_views=4, **options):
    with seeded_randomness(np.random.SeedSequence(seed)):
        return RepeatedViews(transforms, num_views)(clip(**options))


def shallow(results):
    assert isinstance(results, dict), 'the frames of a clip were copied'
    return dict(results)


@pytest.mark.parametrize('num_views', [1, 4])
@pytest.mark.parametrize('size', [(256, 340), (340, 256), (226, 300)])
def test_pre_training_has_the_pixels_of_mmaction(monkeypatch, size, num_views):
    """Also where a crop has the network's size, and is not resized."""
    pipeline = Config.fromfile(DATA / 'k400.py').train_dataloader.dataset.pipeline
    ours = [dict(t) for t in pipeline[-1].transforms]
    stock, boxes = with_stock_resize(ours), set()
    assert stock != ours
    for seed in range(12):
        options = dict(num_views=num_views, size=size, frames=2)
        expected = views_of(stock, seed, **options)
        with monkeypatch.context() as patch:
            patch.setattr(views.copy, 'deepcopy', shallow)
            found = views_of(ours, seed, **options)
        for one, other in zip(found, expected):
            assert torch.equal(one['inputs'], other['inputs'])
            assert one['data_samples'].metainfo == other['data_samples'].metainfo
            boxes.add(one['inputs'].numpy().tobytes())
    assert len(boxes) > 6 * num_views  # not always the same crop


def test_what_writes_into_frames_gets_its_own():
    """Before the resize: copied frames; after it: the view's own array."""
    flip = dict(type='mmaction.Flip', flip_ratio=1.0)
    resize = dict(type='amd_mm.ResizeClip', scale=(32, 24), keep_ratio=False)
    for transforms in ([flip, resize], [resize, flip], [flip, resize, flip]):
        first, *others = views_of(transforms + PACK, 0)
        alone = views_of(transforms + PACK, 0, num_views=1)[0]
        assert torch.equal(first['inputs'], alone['inputs'])
        for other in others:
            assert torch.equal(first['inputs'], other['inputs'])


def test_frames_survive_the_views():
    results = clip()
    frames = results['imgs']
    before = np.array(frames)
    resize = dict(type='amd_mm.ResizeClip', scale=(32, 24), keep_ratio=False)
    flip = dict(type='mmaction.Flip', flip_ratio=1.0)
    RepeatedViews([CROP[0], resize, flip] + PACK)(results)
    np.testing.assert_array_equal(frames, before)


def batch_of(collate, videos=3):
    return collate([views_of(CROP + PACK, seed) for seed in range(videos)])


def test_one_tensor_holds_the_same_clips_in_the_same_order():
    flat, one = (batch_of(collate) for collate in COLLATES)
    (clips,) = one['inputs']
    assert clips.shape == (12, 3, 4, 32, 32)
    assert torch.equal(clips, torch.cat(flat['inputs']))
    # As it was decoded: nothing was turned on the way.
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)
    views = [sample.view for sample in one['data_samples']]
    assert views == [0, 1, 2, 3] * 3


def test_several_crops_of_a_view_are_clips_too():
    views = [dict(inputs=torch.rand(2, 3, 4, 8, 8), data_samples=None) for _ in range(3)]
    (clips,) = stack_views_collate([views])['inputs']
    assert torch.equal(clips, torch.cat([view['inputs'] for view in views]))


@pytest.mark.parametrize('shapes', [[(1, 3, 4, 8, 8), (1, 3, 4, 8, 16)], [(3, 8, 8), (3, 8, 8)]])
def test_clips_that_make_no_one_tensor_are_named(shapes):
    batch = [dict(inputs=torch.zeros(shape)) for shape in shapes]
    with pytest.raises(ValueError, match='flatten_views_collate') as error:
        stack_views_collate(batch)
    assert all(str(shape) in str(error.value) for shape in shapes)
    with pytest.raises(TypeError, match='sample 0 of the batch'):
        stack_views_collate([None])


@pytest.mark.parametrize('make', [tiny.videomae, tiny.amd])
def test_the_loss_is_exactly_that_of_a_list_of_clips(make):
    losses = []
    crop = [
        dict(CROP[0], input_size=64),
        dict(type='amd_mm.ResizeClip', scale=(64, 64), keep_ratio=False),
    ]
    for collate in COLLATES:
        torch.manual_seed(0)
        model = MODELS.build(make())
        batch = collate([views_of(crop + PACK, seed, frames=8) for seed in range(2)])
        ready = model.data_preprocessor(batch, training=True)
        torch.manual_seed(1)
        loss, _ = model.parse_losses(model(**ready, mode='loss'))
        loss.backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        losses.append((loss.detach(), torch.cat(gradients)))
    (loss, gradients), (other, others) = losses
    assert torch.equal(loss, other)
    assert torch.equal(gradients, others) and gradients.abs().max() > 0


def test_a_worker_shares_one_block(tiny_video_folder):
    dataset = VideoFolderDataset(str(tiny_video_folder), video_pipeline(num_views=2))
    collate = FUNCTIONS.get('amd_mm.stack_views_collate')
    loader = DataLoader(
        dataset,
        batch_size=3,
        num_workers=1,
        collate_fn=collate,
        sampler=DefaultSampler(dataset, shuffle=False),
    )
    for batch in loader:
        (clips,) = batch['inputs']
        assert clips.shape == (6, 3, 8, 32, 32) and clips.is_shared()
        assert clips.untyped_storage().nbytes() == clips.numel()
        assert clips.is_contiguous(memory_format=torch.channels_last_3d)
        names = [sample.filename for sample in batch['data_samples']]
        assert names[0::2] == names[1::2] and len(set(names)) == 3
