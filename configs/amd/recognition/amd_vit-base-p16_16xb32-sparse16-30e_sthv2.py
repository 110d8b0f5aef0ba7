# AMD's ViT-B recognises the actions of Something-Something v2, 30 epochs.
#
# 16 GPUs x 32 clips (16 videos x 2 samples) = 512 clips a step at lr 5e-4.
_base_ = [
    '../../_base_/models/recognizer_vit-base.py',
    '../../_base_/datasets/sthv2_recognition.py',
    '../../_base_/schedules/finetune.py',
    '../../_base_/runtime/recognition.py',
]
# Made by this config of configs/amd/pretrain, or any checkpoint with a ViT-B.
pretrained = 'work_dirs/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2/epoch_200.pth'
model = dict(
    data_preprocessor=dict(blending=_base_.blending),
    backbone=dict(pretrained=pretrained),
    cls_head=dict(num_classes=_base_.num_classes),
)
# In videos: batch_size of the data loader over all GPUs.
auto_scale_lr = dict(enable=False, base_batch_size=256)
