# AMD's ViT-B, pre-trained on Kinetics-400, recognises the actions of HMDB51,
# 60 epochs.
#
# 8 GPUs x 16 clips (8 videos x 2 samples) = 128 clips a step at lr 1e-3.
_base_ = [
    '../../_base_/models/recognizer_vit-base.py',
    '../../_base_/datasets/hmdb51_recognition.py',
    '../../_base_/schedules/finetune.py',
    '../../_base_/runtime/recognition.py',
]
# Made by this config of configs/amd/pretrain, or any checkpoint with a ViT-B.
pretrained = 'work_dirs/amd_vit-base-p16_vit-large_32xb64-16x4x1-800e_k400/epoch_200.pth'
model = dict(
    data_preprocessor=dict(blending=_base_.blending),
    backbone=dict(pretrained=pretrained),
    cls_head=dict(num_classes=_base_.num_classes, dropout_ratio=0.5),
)

max_epochs = 60
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_epochs
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
# In videos: batch_size of the data loader over all GPUs.
auto_scale_lr = dict(enable=False, base_batch_size=64)
