# Kinetics-400 as raw frames, prepared as in MMAction2; 16 frames, every 4th.
_base_ = 'repeated_sampling.py'
train_dataloader = dict(
    dataset=dict(
        type='amd_mm.RawFrameListDataset',
        data_root='data/kinetics400',
        ann_file='kinetics400_train_list_rawframes.txt',
        data_prefix=dict(img='rawframes_train'),
        filename_tmpl='img_{:05}.jpg',
        pipeline=[
            dict(
                type='mmaction.SampleFrames',
                clip_len=16,
                frame_interval=4,
                num_clips=1,
                # Of a video shorter than the clip: the last frame again, as
                # in VideoMAE's loader, not the first after the last.
                out_of_bound_opt='repeat_last',
            ),
            dict(type='amd_mm.CheckedRawFrameDecode', min_frames=16),
            dict(
                type='amd_mm.RepeatedViews',
                num_views=_base_.num_views,
                transforms=_base_.view_transforms,
            ),
        ],
    )
)
