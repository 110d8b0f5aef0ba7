# Something-Something v2 as videos, prepared as in MMAction2; 16 frames, every
# 2nd.
_base_ = 'k400.py'
pipeline = _base_.train_dataloader.dataset.pipeline
pipeline[1].frame_interval = 2
train_dataloader = dict(
    dataset=dict(
        data_root='data/sthv2',
        ann_file='sthv2_train_list_videos.txt',
        data_prefix=dict(video='videos'),
        pipeline=pipeline,
    )
)
