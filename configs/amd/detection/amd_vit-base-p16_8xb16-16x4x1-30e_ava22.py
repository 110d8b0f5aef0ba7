# AMD's ViT-B, pre-trained on Kinetics-400, detects actions in AVA 2.2.
#
# 8 GPUs x 16 videos = 128 clips per step at lr 2.5e-4.
_base_ = [
    '../../_base_/models/detector_vit-base.py',
    '../../_base_/datasets/ava22.py',
    '../../_base_/schedules/ava_30e.py',
    '../../_base_/runtime/detection.py',
]
# Written by this config of configs/amd/pretrain. A ViT-B that was fine-tuned for recognition will
# do as well: its fc_norm becomes the norm of the feature map.
_pretrained = 'work_dirs/amd_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400/epoch_200.pth'
model = dict(backbone=dict(pretrained=_pretrained))
