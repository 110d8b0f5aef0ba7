# Kinetics-400 as videos, prepared as in MMAction2; 16 frames, every 4th.
_base_ = 'repeated_sampling.py'
train_dataloader = dict(
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
                # Of a video shorter than the clip: the last frame again, as
                # in VideoMAE's loader, not the first after the last.
                out_of_bound_opt='repeat_last',
            ),
            dict(type='amd_mm.VideoDecode'),
            dict(
                type='amd_mm.RepeatedViews',
                num_views=_base_.num_views,
                transforms=_base_.view_transforms,
            ),
        ],
    )
)
