# Kinetics-400 as videos, arranged as in MMAction2. A clip is 16 frames, every 4th.
#
# Repeated sampling: each video is decoded once per epoch into one clip, of which four views
# (crops) are made; each view gets its own mask. batch_size counts videos, a step has
# batch_size x num_views clips per GPU. Override both through their place:
#     train_dataloader.batch_size=8 train_dataloader.dataset.pipeline.3.num_views=2
train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='amd_mm.EpochSeededSampler', shuffle=True),
    collate_fn=dict(type='amd_mm.stack_views_collate'),
    dataset=dict(
        type='amd_mm.VideoListDataset',
        data_root='data/kinetics400',
        ann_file='kinetics400_train_list_videos.txt',
        data_prefix=dict(video='videos_train'),
        pipeline=[
            dict(type='amd_mm.VideoInit', backend='pyav', min_frames=16),
            dict(
                type='mmaction.SampleFrames',
                clip_len=16,
                frame_interval=4,
                num_clips=1,
                # A video shorter than the clip repeats its last frame, as in VideoMAE's loader.
                out_of_bound_opt='repeat_last',
            ),
            dict(type='amd_mm.VideoDecode'),
            dict(
                type='amd_mm.RepeatedViews',
                num_views=4,
                # As published: 13 crop positions, 4 scales, no flip.
                transforms=[
                    dict(
                        type='mmaction.MultiScaleCrop',
                        input_size=224,
                        scales=(1, 0.875, 0.75, 0.66),
                        max_wh_scale_gap=1,
                        num_fixed_crops=13,
                    ),
                    dict(type='amd_mm.ResizeClip', scale=(224, 224), keep_ratio=False),
                    dict(type='mmaction.FormatShape', input_format='NCTHW'),
                    dict(type='mmaction.PackActionInputs'),
                ],
            ),
        ],
    ),
)
