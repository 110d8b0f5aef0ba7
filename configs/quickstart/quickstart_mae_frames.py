# Quickstart: MAE on single frames of the videos, the image teacher of quickstart_mvd_student.py.
_base_ = '../quickstart_image/quickstart_image_teacher.py'
_arch = dict(embed_dims=144, num_layers=5, num_heads=3, feedforward_channels=576)
model = dict(
    backbone=dict(arch=dict(_delete_=True, **_arch), img_size=32, patch_size=8),
    decoder=dict(embed_dims=128, depth=2, num_heads=4),
)
_pipeline = _base_.train_dataloader.dataset.pipeline
_pipeline[1].scale = 32
train_dataloader = dict(dataset=dict(data_root='work_dirs/quickstart/frames', pipeline=_pipeline))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
train_cfg = dict(max_epochs=15)
