# AMD's ViT-B, fine-tuned on Something-Something V2.
#
# 16 GPUs x 16 videos x 2 views = 512 clips per step at lr 5e-4.
_base_ = [
    '../../_base_/models/recognizer_vit-base.py',
    '../../_base_/datasets/sthv2_recognition.py',
    '../../_base_/schedules/finetune_30e.py',
    '../../_base_/runtime/recognition.py',
]
# Written by this config of configs/amd/pretrain. Any checkpoint with a ViT-B will do.
_pretrained = 'work_dirs/amd_vit-base-p16_vit-large_32xb16v4-16x2x1-200e_sthv2/epoch_200.pth'
model = dict(
    data_preprocessor=dict(blending=_base_._blending),
    backbone=dict(pretrained=_pretrained),
    cls_head=dict(num_classes=_base_._num_classes),
)
