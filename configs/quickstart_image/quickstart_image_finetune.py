# Quickstart on images: the student with three labels per class, from random weights or from a
# pre-trained student:
#     --cfg-options model.backbone.pretrained=FILE
_base_ = [
    '../_base_/models/image_finetune_vit-base.py',
    '../_base_/datasets/imagenet_finetune.py',
    '../_base_/schedules/image_finetune_100e.py',
    '../_base_/runtime/image_finetune.py',
]
_student = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=192)
model = dict(
    data_preprocessor=dict(num_classes=10),
    backbone=dict(arch=dict(_delete_=True, **_student), img_size=16, patch_size=4),
    head=dict(num_classes=10, in_channels=48),
    train_cfg=None,  # neither mixup nor CutMix
)

_images = 'work_dirs/quickstart_image/images'
_load, _pack = dict(type='amd_mm.LoadImage'), dict(type='mmpretrain.PackInputs')
_crop = dict(type='mmpretrain.RandomResizedCrop', scale=16, crop_ratio_range=(0.6, 1.0))
train_dataloader = dict(
    batch_size=30,
    num_workers=1,
    pin_memory=False,
    dataset=dict(data_root=f'{_images}/train', samples_per_class=3, pipeline=[_load, _crop, _pack]),
)
val_dataloader = dict(
    num_workers=1,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(data_root=f'{_images}/val', pipeline=[_load, _pack]),
)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator

optim_wrapper = dict(
    precision='fp32', optimizer=dict(lr=2e-3), paramwise_cfg=dict(layer_decay_rate=1.0)
)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 30
train_cfg = dict(max_epochs=300, val_interval=300)  # epochs of one step
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=300, save_best=None))
