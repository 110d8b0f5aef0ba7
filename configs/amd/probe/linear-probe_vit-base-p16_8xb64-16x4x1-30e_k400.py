# The same on Kinetics-400.
_base_ = [
    '../../_base_/models/linear_probe_vit-base.py',
    '../../_base_/datasets/k400_recognition.py',
    '../../_base_/schedules/linear_probe.py',
    '../../_base_/runtime/recognition.py',
]
# Made by this config of configs/amd/pretrain, or any checkpoint with a ViT-B.
pretrained = 'work_dirs/amd_vit-base-p16_vit-large_32xb64-16x4x1-800e_k400/epoch_200.pth'
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
