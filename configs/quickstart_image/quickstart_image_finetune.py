# Quickstart on images: the student with three labels a class, from scratch, or
# from pre-training:
#     --cfg-options model.backbone.pretrained=FILE
_base_ = [
    '../_base_/models/image_finetune_vit-tiny.py',
    '../_base_/datasets/imagenet_finetune.py',
    '../_base_/schedules/image_finetune_100e.py',
    '../_base_/runtime/image_finetune.py',
]
model = dict(
    data_preprocessor=dict(num_classes=10),
    backbone=dict(
        # The student of quickstart_image_tinymim.py.
        arch=dict(
            _delete_=True, embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=192
        ),
        img_size=16,
        patch_size=4,
    ),
    head=dict(num_classes=10, in_channels=48),
    train_cfg=None,
)  # neither mixup nor cutmix

load = dict(type='amd_mm.LoadImage')
crop = dict(type='mmpretrain.RandomResizedCrop', scale=16, crop_ratio_range=(0.6, 1.0))
pack = dict(type='mmpretrain.PackInputs')
images = 'work_dirs/quickstart_image/images'
train_dataloader = dict(
    batch_size=30,
    num_workers=1,
    pin_memory=False,
    dataset=dict(data_root=f'{images}/train', images_per_class=3, pipeline=[load, crop, pack]),
)
val_dataloader = dict(
    num_workers=1,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(data_root=f'{images}/val', pipeline=[load, pack]),
)
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator

# One step an epoch. From scratch and fine-tuned alike.
max_epochs = 300
optim_wrapper = dict(
    precision='fp32', optimizer=dict(lr=2e-3), paramwise_cfg=dict(layer_decay_rate=1.0)
)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 30
param_scheduler[1].end = max_epochs
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=max_epochs, save_best=None))
