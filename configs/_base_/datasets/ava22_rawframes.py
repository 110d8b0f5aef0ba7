# AVA 2.2 as raw frames at 30 per second, arranged as in MMAction2.
_base_ = 'ava22.py'
_frames = dict(_delete_=True, img='data/ava/rawframes')
_train_pipeline = _base_.train_dataloader.dataset.pipeline
_train_pipeline[1:4] = [_train_pipeline[2], dict(type='amd_mm.CheckedRawFrameDecode')]
_val_pipeline = _base_.val_dataloader.dataset.pipeline
_val_pipeline[:3] = [_val_pipeline[1], dict(type='amd_mm.CheckedRawFrameDecode')]

train_dataloader = dict(dataset=dict(pipeline=_train_pipeline, data_prefix=_frames))
val_dataloader = dict(dataset=dict(pipeline=_val_pipeline, data_prefix=_frames))
test_dataloader = val_dataloader
