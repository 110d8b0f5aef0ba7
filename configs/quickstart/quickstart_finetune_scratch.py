# Quickstart: the student learns the eight motions from few labels, from random
# weights; quickstart_finetune_videomae.py and _amd.py start pre-trained.
_base_ = [
    '../_base_/models/recognizer_vit-small.py',
    '../_base_/datasets/k400_recognition.py',
    '../_base_/schedules/finetune.py',
    '../_base_/runtime/recognition.py',
]
num_classes = 8
model = dict(
    backbone=dict(  # as in quickstart_videomae_student.py
        embed_dims=96,
        depth=4,
        num_heads=3,
        img_size=32,
        patch_size=8,
        num_frames=8,
        pos_embed_type='sincos_3d',
    ),
    # The published start, a thousandth of it, is for longer schedules.
    cls_head=dict(num_classes=num_classes, in_channels=96, init_std=0.02),
)

# 16 clips a step: 8 videos, each decoded once and cropped twice. Many small
# steps learn more than few large ones here. No flip: left and right are
# classes.
num_views = 2
train_pipeline = _base_.train_dataloader.dataset.pipeline
train_pipeline[0].min_frames = 8
train_pipeline[1].update(clip_len=8, frame_interval=1)
train_pipeline[3].update(
    num_views=num_views,
    transforms=[
        dict(
            type='mmaction.MultiScaleCrop',
            input_size=32,
            scales=(1, 0.875, 0.75, 0.66),
            max_wh_scale_gap=1,
            num_fixed_crops=13,
        ),
        dict(type='mmaction.Resize', scale=(32, 32), keep_ratio=False),
        dict(type='mmaction.FormatShape', input_format='NCTHW'),
        dict(type='mmaction.PackActionInputs'),
    ],
)
# Tested on the middle of a video, whole.
test_pipeline = _base_.val_dataloader.dataset.pipeline
test_pipeline[0].min_frames = 8
test_pipeline[1].update(clip_len=8, frame_interval=1)
test_pipeline[3].scale = (-1, 32)
test_pipeline[4].crop_size = 32

_data = dict(
    data_root='work_dirs/quickstart/videos', data_prefix=dict(video=''), num_classes=num_classes
)
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    pin_memory=False,
    dataset=dict(ann_file='train.txt', clips_per_class=8, pipeline=train_pipeline, **_data),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(ann_file='heldout.txt', pipeline=test_pipeline, **_data),
)
val_dataloader = val_cfg = val_evaluator = None

max_epochs = 30  # of 8 steps
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 3
param_scheduler[1].update(begin=3, end=max_epochs)
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(precision='fp32', optimizer=dict(lr=5e-3), paramwise_cfg=dict(num_layers=4))
default_hooks = dict(checkpoint=dict(interval=max_epochs, save_best=None))
auto_scale_lr = dict(enable=False, base_batch_size=8)
