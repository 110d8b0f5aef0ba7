# Something-Something V2 as raw frames, arranged as in MMAction2.
_base_ = 'k400_rawframes.py'
_pipeline = _base_.train_dataloader.dataset.pipeline
_pipeline[0].frame_interval = 2
train_dataloader = dict(
    dataset=dict(
        data_root='data/sthv2',
        ann_file='sthv2_train_list_rawframes.txt',
        data_prefix=dict(img='rawframes'),
        pipeline=_pipeline,
    )
)
