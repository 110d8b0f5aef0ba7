# Kinetics-400 for recognition, as videos prepared as in MMAction2. A clip has
# 16 frames, every 4th; tested on 5 clips x 3 crops.
#
# Training decodes a clip once and samples it num_views times, each with an
# augmentation of its own. batch_size of a data loader counts videos:
#     clips_per_gpu = batch_size * num_views
# Augmentation as in the public scripts (the paper: RandAugment (9, 0.5)).
num_classes = 400
clips_per_gpu = 32
num_views = 2

view_transforms = [
    dict(type='amd_mm.RandAugment', policy='rand-m7-n4-mstd0.5-inc1'),
    dict(
        type='mmaction.RandomResizedCrop', area_range=(0.08, 1.0), aspect_ratio_range=(3 / 4, 4 / 3)
    ),
    dict(type='mmaction.Resize', scale=(224, 224), keep_ratio=False),
    dict(type='mmaction.Flip', flip_ratio=0.5),
    dict(type='amd_mm.RandomErasing', probability=0.25, mode='pixel'),
    dict(type='mmaction.FormatShape', input_format='NCTHW'),
    dict(type='mmaction.PackActionInputs'),
]
train_dataloader = dict(
    batch_size=clips_per_gpu // num_views,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='amd_mm.EpochSeededSampler', shuffle=True),
    collate_fn=dict(type='amd_mm.flatten_views_collate'),
    dataset=dict(
        type='amd_mm.VideoListDataset',
        data_root='data/kinetics400',
        ann_file='kinetics400_train_list_videos.txt',
        data_prefix=dict(video='videos_train'),
        num_classes=num_classes,
        pipeline=[
            dict(type='amd_mm.VideoInit', backend='pyav'),
            dict(
                type='mmaction.SampleFrames',
                clip_len=16,
                frame_interval=4,
                num_clips=1,
                # Of a video shorter than the clip: the last frame again, as
                # in VideoMAE's loader, not the first after the last.
                out_of_bound_opt='repeat_last',
            ),
            dict(type='amd_mm.VideoDecode'),
            dict(type='amd_mm.RepeatedViews', num_views=num_views, transforms=view_transforms),
        ],
    ),
)


def _testing(batch_size: int, num_clips: int, crop: str) -> dict:
    """The data loader of a test on so many clips of every video."""
    return dict(
        batch_size=batch_size,
        num_workers=8,
        persistent_workers=True,
        sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
        dataset=dict(
            type='amd_mm.VideoListDataset',
            data_root='data/kinetics400',
            ann_file='kinetics400_val_list_videos.txt',
            data_prefix=dict(video='videos_val'),
            num_classes=num_classes,
            test_mode=True,
            pipeline=[
                dict(type='amd_mm.VideoInit', backend='pyav'),
                dict(
                    type='mmaction.SampleFrames',
                    clip_len=16,
                    frame_interval=4,
                    num_clips=num_clips,
                    test_mode=True,
                    out_of_bound_opt='repeat_last',
                ),
                dict(type='amd_mm.VideoDecode'),
                dict(type='mmaction.Resize', scale=(-1, 224)),
                dict(type=crop, crop_size=224),
                dict(type='mmaction.FormatShape', input_format='NCTHW'),
                dict(type='mmaction.PackActionInputs'),
            ],
        ),
    )


val_dataloader = _testing(16, 1, 'mmaction.CenterCrop')
# One video at a time, so that model.test_cfg.max_testing_views may limit how
# many of its views the device holds at once.
test_dataloader = _testing(1, 5, 'mmaction.ThreeCrop')
del _testing

val_evaluator = dict(type='mmaction.AccMetric')
test_evaluator = val_evaluator

# Half of the batches are mixed by mixup, half by cutmix.
blending = dict(
    type='mmaction.RandomBatchAugment',
    augments=[
        dict(type='mmaction.MixupBlending', alpha=0.8, num_classes=num_classes),
        dict(type='mmaction.CutmixBlending', alpha=1.0, num_classes=num_classes),
    ],
    probs=[0.5, 0.5],
)
