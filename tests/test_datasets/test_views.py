"""Repeated views, resizing without copies, collation, and a training step from files."""

import cv2
import numpy as np
import pytest
import torch
from amd_mm.datasets import (
    RawFrameListDataset,
    SampleKey,
    VideoFolderDataset,
    VideoListDataset,
    flatten_views_collate,
    open_video,
    seeded_randomness,
    stack_images_collate,
    stack_views_collate,
)
from amd_mm.datasets.transforms import RepeatedViews, views
from amd_mm.registry import FUNCTIONS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader

from .. import tiny
from ..conftest import REPOSITORY
from .pipelines import CROP, PACK, decoded_clip, video_pipeline

FLIP = dict(type='mmaction.Flip', flip_ratio=1.0)
RESIZE = dict(type='amd_mm.ResizeClip', scale=(32, 24), keep_ratio=False)
COLLATES = [flatten_views_collate, stack_views_collate]


def views_of(transforms, seed, num_views=4, **options):
    with seeded_randomness(np.random.SeedSequence(seed)):
        return RepeatedViews(transforms, num_views)(decoded_clip(**options))


def shallow(results):
    assert isinstance(results, dict), 'the frames of a clip were copied'
    return dict(results)


@pytest.mark.parametrize('size', [(256, 340), (226, 300)])
def test_pretraining_has_the_pixels_of_mmaction(monkeypatch, size):
    """Without copies; also where a crop has the network's size and is not resized."""
    path = REPOSITORY / 'configs' / '_base_' / 'datasets' / 'k400.py'
    pipeline = Config.fromfile(path).train_dataloader.dataset.pipeline
    ours = [dict(t) for t in pipeline[-1].transforms]
    stock = [dict(t, type=t['type'].replace('amd_mm.ResizeClip', 'mmaction.Resize')) for t in ours]
    assert stock != ours
    crops = set()
    for seed in range(6):
        expected = views_of(stock, seed, size=size, frames=2)
        with monkeypatch.context() as patch:
            patch.setattr(views.copy, 'deepcopy', shallow)
            found = views_of(ours, seed, size=size, frames=2)
        for one, other in zip(found, expected):
            assert torch.equal(one['inputs'], other['inputs'])
            assert one['data_samples'].metainfo == other['data_samples'].metainfo
            crops.add(one['inputs'].numpy().tobytes())
    assert len(crops) > 12  # not always the same crop


@pytest.mark.parametrize('as_array', [False, True])
def test_views_do_not_see_what_others_write(as_array):
    for transforms in ([FLIP, RESIZE], [RESIZE, FLIP], [FLIP, RESIZE, FLIP]):
        first, *others = views_of(transforms + PACK, 0, as_array=as_array)
        (alone,) = views_of(transforms + PACK, 0, num_views=1)
        assert torch.equal(first['inputs'], alone['inputs'])
        assert all(torch.equal(first['inputs'], other['inputs']) for other in others)
    results = decoded_clip(as_array=as_array)
    frames, before = results['imgs'], np.array(results['imgs'])
    RepeatedViews([CROP[0], RESIZE, FLIP] + PACK)(results)
    np.testing.assert_array_equal(frames, before)


def test_views_are_cropped_differently_and_packed_alike():
    found = views_of(CROP + PACK, 0)
    assert len({view['inputs'].numpy().tobytes() for view in found}) == 4
    for number, view in enumerate(found):
        assert view['inputs'].shape == (1, 3, 8, 32, 32)
        assert view['inputs'].dtype == torch.uint8
        assert view['data_samples'].view == number
        assert view['data_samples'].gt_label.item() == 2
    for seed in range(5):  # one view equals the transforms alone
        (view,) = views_of(CROP + PACK, seed, num_views=1)
        with seeded_randomness(np.random.SeedSequence(seed)):
            plain = decoded_clip()
            for config in CROP + PACK:
                plain = TRANSFORMS.build(config)(plain)
        assert torch.equal(view['inputs'], plain['inputs'])


def test_wrong_input_of_views():
    seen = []
    RepeatedViews([lambda results: seen.append(results) or results])(decoded_clip())
    assert len(seen) == 4 and not any('video_reader' in results for results in seen)
    assert RepeatedViews([lambda results: None])(decoded_clip()) is None
    with pytest.raises(KeyError, match='after the decoder'):
        RepeatedViews(PACK)(dict(frame_inds=[1]))
    with pytest.raises(ValueError, match='num_views'):
        RepeatedViews(PACK, num_views=0)


def sample(value):
    return dict(inputs=torch.full((1,), value), data_samples=BaseDataElement())


def test_flatten_views_collate():
    batch = flatten_views_collate([[sample(0), sample(1)], [sample(2), sample(3)]])
    assert [x.item() for x in batch['inputs']] == [0, 1, 2, 3]
    assert len(batch['data_samples']) == 4
    single = flatten_views_collate([sample(5), sample(6)])
    assert [x.item() for x in single['inputs']] == [5, 6]
    for nothing in (None, [], [None]):
        with pytest.raises(TypeError, match='sample 1 of the batch'):
            flatten_views_collate([sample(0), nothing])


def test_stack_views_collate():
    batch = [views_of(CROP + PACK, seed) for seed in range(3)]
    flat, stacked = (collate(batch) for collate in COLLATES)
    (clips,) = stacked['inputs']
    assert clips.shape == (12, 3, 8, 32, 32)
    assert torch.equal(clips, torch.cat(flat['inputs']))
    # The layout is as decoded.
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)
    assert [one.view for one in stacked['data_samples']] == [0, 1, 2, 3] * 3
    # Several crops of a view are clips too.
    crops = [dict(inputs=torch.rand(2, 3, 4, 8, 8), data_samples=None) for _ in range(3)]
    (clips,) = stack_views_collate([crops])['inputs']
    assert torch.equal(clips, torch.cat([view['inputs'] for view in crops]))


@pytest.mark.parametrize('shapes', [[(1, 3, 4, 8, 8), (1, 3, 4, 8, 16)], [(3, 8, 8), (3, 8, 8)]])
def test_clips_that_cannot_be_stacked(shapes):
    with pytest.raises(ValueError, match='flatten_views_collate') as error:
        stack_views_collate([dict(inputs=torch.zeros(shape)) for shape in shapes])
    assert all(str(shape) in str(error.value) for shape in shapes)


@pytest.mark.parametrize('collate', [flatten_views_collate, stack_images_collate])
def test_labels_of_a_batch_share_their_memory(collate):
    """Workers send memory block by block, which costs more than the blocks."""
    boxes = [torch.zeros(2, 4), torch.ones(2, 4), torch.ones(1, 4)]
    batch = [
        dict(
            inputs=torch.zeros(3, 8, 8),
            data_samples=BaseDataElement(label=torch.tensor([n]), boxes=box),
        )
        for n, box in enumerate(boxes)
    ]
    samples = collate(batch)['data_samples']
    assert [one.label.tolist() for one in samples] == [[0], [1], [2]]
    assert len({one.label.untyped_storage().data_ptr() for one in samples}) == 1
    assert all(one.boxes is box for one, box in zip(samples, boxes))


def test_both_collations_give_the_same_loss():
    crop = [dict(CROP[0], input_size=64), dict(RESIZE, scale=(64, 64))]
    results = []
    for collate in COLLATES:
        torch.manual_seed(0)
        model = MODELS.build(tiny.amd())
        batch = collate([views_of(crop + PACK, seed) for seed in range(2)])
        ready = model.data_preprocessor(batch, training=True)
        torch.manual_seed(1)
        loss, _ = model.parse_losses(model(**ready, mode='loss'))
        loss.backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        results.append((loss.detach(), torch.cat(gradients)))
    (loss, gradients), (other, others) = results
    assert torch.equal(loss, other)
    assert torch.equal(gradients, others) and gradients.abs().max() > 0


def test_a_worker_shares_one_block(tiny_video_folder):
    dataset = VideoFolderDataset(str(tiny_video_folder), video_pipeline(num_views=2))
    loader = DataLoader(
        dataset,
        batch_size=3,
        num_workers=1,
        collate_fn=FUNCTIONS.get('amd_mm.stack_views_collate'),
        sampler=DefaultSampler(dataset, shuffle=False),
    )
    for batch in loader:
        (clips,) = batch['inputs']
        assert clips.shape == (6, 3, 8, 32, 32) and clips.is_shared()
        assert clips.untyped_storage().nbytes() == clips.numel()
        assert clips.is_contiguous(memory_format=torch.channels_last_3d)
        names = [one.filename for one in batch['data_samples']]
        assert names[0::2] == names[1::2] and len(set(names)) == 3


LABELS = [2, 0, 4]
CLASSES = 5
SPARSE = dict(type='amd_mm.SparseSampleFrames', clip_len=8)
AUGMENTED = dict(
    type='amd_mm.RepeatedViews',
    num_views=2,
    transforms=[
        dict(type='amd_mm.RandAugment'),
        dict(type='mmaction.RandomResizedCrop'),
        dict(type='mmaction.Resize', scale=(64, 64), keep_ratio=False),
        dict(type='mmaction.Flip', flip_ratio=0.5),
        dict(type='amd_mm.RandomErasing', probability=0.25),
        *PACK,
    ],
)


@pytest.fixture(scope='module')
def labelled(tmp_path_factory, make_video):
    """Three videos and their frames, and lists of both with labels."""
    folder = tmp_path_factory.mktemp('labelled')
    for number in range(3):
        path = make_video(folder / f'{number}.mp4', frames=20, seed=number)
        (folder / f'clip {number}').mkdir()
        for index, image in enumerate(open_video(path).read(range(20)), 1):
            name = folder / f'clip {number}' / f'img_{index:05}.png'
            cv2.imwrite(str(name), image[..., ::-1])
    for name, line in (('videos', '{}.mp4 {}'), ('frames', 'clip {} 20 {}')):
        lines = [line.format(number, label) for number, label in enumerate(LABELS)]
        (folder / f'{name}.txt').write_text('\n'.join(lines))
    return folder


def video_dataset(folder, last):
    pipeline = [dict(type='amd_mm.VideoInit'), SPARSE, dict(type='amd_mm.VideoDecode'), last]
    return VideoListDataset('videos.txt', pipeline, data_root=str(folder), num_classes=CLASSES)


def frame_dataset(folder, last):
    return RawFrameListDataset(
        'frames.txt',
        [SPARSE, dict(type='amd_mm.CheckedRawFrameDecode'), last],
        data_root=str(folder),
        filename_tmpl='img_{:05}.png',
    )


def read_batch(dataset):
    return flatten_views_collate([dataset[SampleKey(index, 0)] for index in range(len(dataset))])


def test_videos_and_their_frames_give_the_same_views(labelled):
    batches = [read_batch(kind(labelled, AUGMENTED)) for kind in (video_dataset, frame_dataset)]
    for batch in batches:
        assert [s.gt_label.item() for s in batch['data_samples']] == [2, 2, 0, 0, 4, 4]
        assert [s.view for s in batch['data_samples']] == [0, 1] * 3
        assert len({clip.numpy().tobytes() for clip in batch['inputs']}) == 6
    for clip, same in zip(*(batch['inputs'] for batch in batches)):
        assert clip.shape == (1, 3, 8, 64, 64) and clip.dtype == torch.uint8
        assert torch.equal(clip, same)


def test_views_come_from_their_own_video(labelled):
    batch = read_batch(video_dataset(labelled, dict(AUGMENTED, transforms=PACK)))
    for number in range(3):
        first, second = batch['inputs'][2 * number : 2 * number + 2]
        assert torch.equal(first, second)
        frames = open_video(str(labelled / f'{number}.mp4')).read(range(20))
        for frame in first[0].permute(1, 2, 3, 0).numpy():
            assert any(np.array_equal(frame, known) for known in frames)
