# Quickstart on images: the teacher, pre-trained by MAE. 16 x 16 pixels are 16 tokens. Used by
# tools/quickstart/digits.py; sized for two CPU cores. Half of so few tokens is enough to mask, and
# a flipped digit is not that digit: no flip.
_base_ = [
    '../_base_/models/mae_vit-base.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/mae_800e.py',
    '../_base_/runtime/pretrain.py',
]
default_scope = 'mmpretrain'
_arch = dict(embed_dims=96, num_layers=4, num_heads=6, feedforward_channels=384)
model = dict(
    backbone=dict(arch=dict(_delete_=True, **_arch), img_size=16, patch_size=4),
    mask_generator=dict(student_ratio=0.5),
    decoder=dict(embed_dims=48, depth=1, num_heads=3),
    head=dict(target='pixels'),
)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        data_root='work_dirs/quickstart_image/images/train',
        pipeline=[
            dict(type='amd_mm.LoadImage'),
            dict(type='mmpretrain.RandomResizedCrop', scale=16, crop_ratio_range=(0.6, 1.0)),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
optim_wrapper = dict(precision='fp32', optimizer=dict(lr=3e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 3
train_cfg = dict(max_epochs=40)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=10, max_keep_ckpts=1))
