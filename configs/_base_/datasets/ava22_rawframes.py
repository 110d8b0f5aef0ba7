# AVA 2.2 as raw frames at 30 a second, prepared as in MMAction2.
_base_ = 'ava22.py'
_frames = dict(_delete_=True, img='data/ava/rawframes')
train_pipeline = _base_.train_dataloader.dataset.pipeline
train_pipeline[1:4] = [train_pipeline[2], dict(type='amd_mm.CheckedRawFrameDecode')]
val_pipeline = _base_.val_dataloader.dataset.pipeline
val_pipeline[:3] = [val_pipeline[1], dict(type='amd_mm.CheckedRawFrameDecode')]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline, data_prefix=_frames))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline, data_prefix=_frames))
test_dataloader = val_dataloader
