# Quickstart: the student learns the eight motions from 8 labelled videos of each, from random
# weights or from a pre-trained student:
#     --cfg-options model.backbone.pretrained=FILE
_base_ = [
    '../_base_/models/recognizer_vit-small.py',
    '../_base_/datasets/k400_recognition.py',
    '../_base_/schedules/finetune_30e.py',
    '../_base_/runtime/recognition.py',
]
model = dict(
    backbone=dict(  # as in quickstart_videomae_student.py
        embed_dims=96,
        depth=4,
        num_heads=3,
        img_size=32,
        patch_size=8,
        num_frames=8,
        pos_embed_type='sincos_3d_strong',
    ),
    # The published initial weights, a thousandth of these, need a longer schedule.
    cls_head=dict(num_classes=8, in_channels=96, init_std=0.02),
)

# 8 videos x 2 views = 16 clips per step: at this size, many small steps learn more than few large
# ones. No flip: left and right are classes.
_pipeline = _base_.train_dataloader.dataset.pipeline
_pipeline[0].min_frames = 8
_pipeline[1].update(clip_len=8, frame_interval=1)
_pipeline[3].transforms = [
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
]
# Testing takes one clip from the middle of a video, without cropping.
_test_pipeline = _base_.val_dataloader.dataset.pipeline
_test_pipeline[0].min_frames = 8
_test_pipeline[1].update(clip_len=8, frame_interval=1)
_test_pipeline[3].scale = (-1, 32)
_test_pipeline[4].crop_size = 32

_data = dict(data_root='work_dirs/quickstart/videos', data_prefix=dict(video=''), num_classes=8)
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    pin_memory=False,
    dataset=dict(ann_file='train.txt', samples_per_class=8, pipeline=_pipeline, **_data),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(ann_file='heldout.txt', pipeline=_test_pipeline, **_data),
)
val_dataloader = val_cfg = val_evaluator = None

optim_wrapper = dict(precision='fp32', optimizer=dict(lr=5e-3), paramwise_cfg=dict(num_layers=4))
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = 3
train_cfg = dict(max_epochs=30)  # of 8 steps
default_hooks = dict(checkpoint=dict(interval=30, save_best=None))
auto_scale_lr = dict(base_batch_size=8)
