# Kinetics-400 as raw frames, arranged as in MMAction2.
_base_ = 'k400.py'
_pipeline = _base_.train_dataloader.dataset.pipeline
train_dataloader = dict(
    dataset=dict(
        type='amd_mm.RawFrameListDataset',
        ann_file='kinetics400_train_list_rawframes.txt',
        data_prefix=dict(_delete_=True, img='rawframes_train'),
        filename_tmpl='img_{:05}.jpg',
        pipeline=[
            _pipeline[1],
            dict(type='amd_mm.CheckedRawFrameDecode', min_frames=16),
            _pipeline[3],
        ],
    )
)
