# Kinetics-400 for recognition, as videos arranged as in MMAction2. A clip is 16 frames, every 4th.
# Training decodes a video once per epoch and augments two views of it; batch_size counts videos.
# Testing averages 5 clips x 3 crops. Augmentation as in the public scripts (the paper's is
# RandAugment (9, 0.5)).
_num_classes = 400


def _dataset(split: str, sampling: dict, transforms: list, **kwargs) -> dict:
    return dict(
        type='amd_mm.VideoListDataset',
        data_root='data/kinetics400',
        ann_file=f'kinetics400_{split}_list_videos.txt',
        data_prefix=dict(video=f'videos_{split}'),
        num_classes=_num_classes,
        pipeline=[
            dict(type='amd_mm.VideoInit', backend='pyav'),
            dict(
                type='mmaction.SampleFrames',
                clip_len=16,
                frame_interval=4,
                # A video shorter than the clip repeats its last frame, as in VideoMAE's loader.
                out_of_bound_opt='repeat_last',
                **sampling,
            ),
            dict(type='amd_mm.VideoDecode'),
            *transforms,
        ],
        **kwargs,
    )


def _test_dataloader(batch_size: int, num_clips: int, crop: str) -> dict:
    return dict(
        batch_size=batch_size,
        num_workers=8,
        persistent_workers=True,
        sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
        dataset=_dataset(
            'val',
            dict(num_clips=num_clips, test_mode=True),
            [
                dict(type='mmaction.Resize', scale=(-1, 224)),
                dict(type=crop, crop_size=224),
                dict(type='mmaction.FormatShape', input_format='NCTHW'),
                dict(type='mmaction.PackActionInputs'),
            ],
            test_mode=True,
        ),
    )


_views = dict(
    type='amd_mm.RepeatedViews',
    num_views=2,
    transforms=[
        dict(type='amd_mm.RandAugment', policy='rand-m7-n4-mstd0.5-inc1'),
        dict(
            type='mmaction.RandomResizedCrop',
            area_range=(0.08, 1.0),
            aspect_ratio_range=(3 / 4, 4 / 3),
        ),
        dict(type='mmaction.Resize', scale=(224, 224), keep_ratio=False),
        dict(type='mmaction.Flip', flip_ratio=0.5),
        dict(type='amd_mm.RandomErasing', probability=0.25, mode='pixel'),
        dict(type='mmaction.FormatShape', input_format='NCTHW'),
        dict(type='mmaction.PackActionInputs'),
    ],
)
train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='amd_mm.EpochSeededSampler', shuffle=True),
    collate_fn=dict(type='amd_mm.flatten_views_collate'),
    dataset=_dataset('train', dict(num_clips=1), [_views]),
)
val_dataloader = _test_dataloader(16, 1, 'mmaction.CenterCrop')
# One video at a time, so that model.test_cfg.max_testing_views can limit the views in memory.
test_dataloader = _test_dataloader(1, 5, 'mmaction.ThreeCrop')
val_evaluator = dict(type='mmaction.AccMetric')
test_evaluator = val_evaluator

# For data_preprocessor.blending: mixup for half of the batches, CutMix for the others.
_blending = dict(
    type='mmaction.RandomBatchAugment',
    augments=[
        dict(type='mmaction.MixupBlending', alpha=0.8, num_classes=_num_classes),
        dict(type='mmaction.CutmixBlending', alpha=1.0, num_classes=_num_classes),
    ],
    probs=[0.5, 0.5],
)
