# Linear probe of AMD's ViT-B on Kinetics-400.
#
# 8 GPUs x 64 videos = 512 clips per step at lr 0.2. Crops and flips only, as in MAE's probe.
_base_ = [
    '../../_base_/models/linear_probe_vit-base.py',
    '../../_base_/datasets/k400_recognition.py',
    '../../_base_/schedules/linear_probe_30e.py',
    '../../_base_/runtime/recognition.py',
]
# Written by this config of configs/amd/pretrain. Any checkpoint with a ViT-B will do.
_pretrained = 'work_dirs/amd_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400/epoch_200.pth'
model = dict(backbone=dict(pretrained=_pretrained), cls_head=dict(num_classes=_base_._num_classes))

_pipeline = _base_.train_dataloader.dataset.pipeline
_pipeline[3].num_views = 1
_pipeline[3].transforms = [
    transform
    for transform in _pipeline[3].transforms
    if transform.type not in ('amd_mm.RandAugment', 'amd_mm.RandomErasing')
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=_pipeline))
