# Something-Something V2 as videos, arranged as in MMAction2. A clip is 16 frames, every 2nd.
_base_ = 'k400.py'
_pipeline = _base_.train_dataloader.dataset.pipeline
_pipeline[1].frame_interval = 2
train_dataloader = dict(
    dataset=dict(
        data_root='data/sthv2',
        ann_file='sthv2_train_list_videos.txt',
        data_prefix=dict(video='videos'),
        pipeline=_pipeline,
    )
)
