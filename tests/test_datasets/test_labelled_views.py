"""Repeated sampling with labels: from files to a training step."""

import cv2
import numpy as np
import pytest
import torch
from amd_mm.datasets import (
    RawFrameListDataset,
    SampleKey,
    VideoListDataset,
    flatten_views_collate,
    open_video,
)
from amd_mm.registry import MODELS
from mmengine.optim import OptimWrapper

from .. import tiny

pytest.importorskip('mmpretrain', reason='RandAugment takes its operations from MMPretrain')
LABELS = [2, 0, 4]
CLASSES = 5


def augmented_views(size=64, erase=0.25):
    """What fine-tuning does to each of two views of a clip."""
    return dict(
        type='amd_mm.RepeatedViews',
        num_views=2,
        transforms=[
            dict(type='amd_mm.RandAugment'),
            dict(
                type='mmaction.RandomResizedCrop',
                area_range=(0.08, 1.0),
                aspect_ratio_range=(3 / 4, 4 / 3),
            ),
            dict(type='mmaction.Resize', scale=(size, size), keep_ratio=False),
            dict(type='mmaction.Flip', flip_ratio=0.5),
            dict(type='amd_mm.RandomErasing', probability=erase),
            dict(type='mmaction.FormatShape', input_format='NCTHW'),
            dict(type='mmaction.PackActionInputs'),
        ],
    )


SPARSE = dict(type='amd_mm.SparseSampleFrames', clip_len=8)


@pytest.fixture(scope='module')
def videos(tmp_path_factory, make_video):
    """Three videos of different colours, and a list with labels."""
    folder = tmp_path_factory.mktemp('labelled')
    for number in range(len(LABELS)):
        make_video(folder / f'{number}.mp4', frames=20, seed=number)
    lines = [f'{number}.mp4 {label}' for number, label in enumerate(LABELS)]
    (folder / 'train.txt').write_text('\n'.join(lines))
    return folder


def video_dataset(folder, views):
    return VideoListDataset(
        ann_file='train.txt',
        data_root=str(folder),
        pipeline=[dict(type='amd_mm.VideoInit'), SPARSE, dict(type='amd_mm.VideoDecode'), views],
        num_classes=CLASSES,
    )


def frame_dataset(folder, views):
    lines = []
    for number, label in enumerate(LABELS):
        frames = folder / f'clip {number}'
        if not frames.is_dir():
            frames.mkdir()
            pictures = open_video(str(folder / f'{number}.mp4')).read(range(20))
            for index, picture in enumerate(pictures, 1):
                cv2.imwrite(str(frames / f'img_{index:05}.png'), picture[..., ::-1])
        lines.append(f'clip {number} 20 {label}')
    (folder / 'frames.txt').write_text('\n'.join(lines))
    return RawFrameListDataset(
        ann_file='frames.txt',
        data_root=str(folder),
        filename_tmpl='img_{:05}.png',
        pipeline=[SPARSE, dict(type='amd_mm.CheckedRawFrameDecode'), views],
    )


def read_batch(dataset):
    samples = [dataset[SampleKey(index, 0)] for index in range(len(dataset))]
    return flatten_views_collate(samples)


@pytest.mark.parametrize('kind', [video_dataset, frame_dataset])
def test_views_are_labelled_and_differ(videos, kind):
    batch = read_batch(kind(videos, augmented_views()))
    labels = [sample.gt_label.item() for sample in batch['data_samples']]
    assert labels == [2, 2, 0, 0, 4, 4]
    views = [sample.view for sample in batch['data_samples']]
    assert views == [0, 1] * 3
    for clip in batch['inputs']:
        assert clip.shape == (1, 3, 8, 64, 64) and clip.dtype == torch.uint8
    different = {clip.numpy().tobytes() for clip in batch['inputs']}
    assert len(different) == 6


def test_videos_and_their_frames_give_the_same_views(videos):
    """The same draws for both; the decoder's frames, so no loss."""
    one = read_batch(video_dataset(videos, augmented_views()))
    other = read_batch(frame_dataset(videos, augmented_views()))
    for clip, same in zip(one['inputs'], other['inputs']):
        assert torch.equal(clip, same)


def test_views_come_from_their_own_video(videos):
    """Without augmentation each view is the clip of its label."""
    plain = augmented_views()
    plain['transforms'] = plain['transforms'][-2:]
    batch = read_batch(video_dataset(videos, plain))
    for number in range(3):
        first, second = batch['inputs'][2 * number : 2 * number + 2]
        assert torch.equal(first, second)
        frames = open_video(str(videos / f'{number}.mp4')).read(range(20))
        for frame in first[0].permute(1, 2, 3, 0).numpy():
            assert any(np.array_equal(frame, known) for known in frames)


def test_testing_with_two_sparse_clips_of_three_crops(videos):
    dataset = VideoListDataset(
        ann_file='train.txt',
        data_root=str(videos),
        test_mode=True,
        pipeline=[
            dict(type='amd_mm.VideoInit'),
            dict(SPARSE, num_clips=2, test_mode=True),
            dict(type='amd_mm.VideoDecode'),
            dict(type='mmaction.ThreeCrop', crop_size=48),
            dict(type='mmaction.FormatShape', input_format='NCTHW'),
            dict(type='mmaction.PackActionInputs'),
        ],
    )
    assert dataset[0]['inputs'].shape == (6, 3, 8, 48, 48)


BLENDINGS = {
    'mixup': [dict(type='mmaction.MixupBlending', alpha=0.8)],
    'cutmix': [dict(type='mmaction.CutmixBlending', alpha=1.0)],
}
BLENDINGS['both'] = BLENDINGS['mixup'] + BLENDINGS['cutmix']


@pytest.mark.parametrize('name', BLENDINGS)
def test_a_recognizer_trains_on_blended_views(videos, name):
    torch.manual_seed(0)
    augments = [dict(cfg, num_classes=CLASSES) for cfg in BLENDINGS[name]]
    preprocessor = dict(
        tiny.preprocessor(),
        blending=dict(
            type='mmaction.RandomBatchAugment',
            augments=augments,
            probs=[1 / len(augments)] * len(augments),
        ),
    )
    model = MODELS.build(
        dict(
            type='mmaction.Recognizer3D',
            data_preprocessor=preprocessor,
            backbone=dict(tiny.backbone(), use_mean_pooling=True),
            cls_head=dict(
                type='mmaction.TimeSformerHead',
                num_classes=CLASSES,
                in_channels=48,
                label_smooth_eps=0.1,
            ),
        )
    )
    optimizer = OptimWrapper(torch.optim.AdamW(model.parameters(), 1e-3))
    before = {key: p.clone() for key, p in model.named_parameters()}
    batch = read_batch(video_dataset(videos, augmented_views()))
    losses = model.train_step(batch, optimizer)
    assert torch.isfinite(losses['loss'])
    blended = model.data_preprocessor(batch, training=True)
    targets = torch.stack([s.gt_label for s in blended['data_samples']])
    assert targets.shape == (6, CLASSES)
    torch.testing.assert_close(targets.sum(1), torch.ones(6))
    # Blended with other samples' labels, which are among these three.
    assert targets[:, [1, 3]].abs().max() == 0
    still = [
        key
        for key, p in model.named_parameters()
        if p.requires_grad and torch.equal(p, before[key])
    ]
    assert not still
