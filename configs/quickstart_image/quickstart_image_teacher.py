# Quickstart on images: the teacher, by MAE, on 16 x 16 pixels in 16 tokens.
# The other configs of this folder derive from it. Started by
# tools/quickstart/digits.py.
#
# Small enough for two CPU cores. Half of so few tokens is enough to hide, and
# a digit turned around is another: no flip.
_base_ = [
    '../_base_/models/mae_vit-tiny.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/mae_800e.py',
    '../_base_/runtime/pretrain.py',
]
default_scope = 'mmpretrain'
size = dict(img_size=16, patch_size=4)
arch = dict(embed_dims=96, num_layers=4, num_heads=6, feedforward_channels=384)
model = dict(
    backbone=dict(arch=dict(_delete_=True, **arch), **size),
    mask_generator=dict(student_ratio=0.5),
    decoder=dict(embed_dims=48, depth=1, num_heads=3),
    head=dict(target='pixels'),
)

crop = dict(type='mmpretrain.RandomResizedCrop', scale=16, crop_ratio_range=(0.6, 1.0))
pipeline = [dict(type='amd_mm.LoadImage'), crop, dict(type='mmpretrain.PackInputs')]
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    pin_memory=False,
    dataset=dict(data_root='work_dirs/quickstart_image/images/train', pipeline=pipeline),
)

max_epochs = 40
optim_wrapper = dict(precision='fp32', optimizer=dict(lr=3e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 3
param_scheduler[1].end = max_epochs
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=10, max_keep_ckpts=1))
