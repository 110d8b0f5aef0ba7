# Something-Something v2 as raw frames, prepared as in MMAction2; 16 frames,
# every 2nd.
_base_ = 'k400_rawframes.py'
pipeline = _base_.train_dataloader.dataset.pipeline
pipeline[0].frame_interval = 2
train_dataloader = dict(
    dataset=dict(
        data_root='data/sthv2',
        ann_file='sthv2_train_list_rawframes.txt',
        data_prefix=dict(img='rawframes'),
        pipeline=pipeline,
    )
)
