# How much of Something-Something v2 can be read off frozen features of AMD's
# ViT-B by a linear classifier; 30 epochs.
#
# 8 GPUs x 64 clips = 512 a step at lr 0.2. Crops only, as in MAE's probe.
# Without training, in minutes: tools/probe.py with this config.
_base_ = [
    '../../_base_/models/linear_probe_vit-base.py',
    '../../_base_/datasets/sthv2_recognition.py',
    '../../_base_/schedules/linear_probe.py',
    '../../_base_/runtime/recognition.py',
]
# Made by this config of configs/amd/pretrain, or any checkpoint with a ViT-B.
pretrained = 'work_dirs/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2/epoch_200.pth'
model = dict(backbone=dict(pretrained=pretrained), cls_head=dict(num_classes=_base_.num_classes))

clips_per_gpu = 64
train_pipeline = _base_.train_dataloader.dataset.pipeline
train_pipeline[-1].num_views = 1
train_pipeline[-1].transforms = [
    transform
    for transform in train_pipeline[-1].transforms
    if transform.type not in ('amd_mm.RandAugment', 'amd_mm.RandomErasing')
]
train_dataloader = dict(batch_size=clips_per_gpu, dataset=dict(pipeline=train_pipeline))
