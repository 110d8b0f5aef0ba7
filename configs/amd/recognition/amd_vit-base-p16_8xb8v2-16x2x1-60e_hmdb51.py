# AMD's ViT-B, fine-tuned on HMDB51.
#
# 8 GPUs x 8 videos x 2 views = 128 clips per step at lr 1e-3.
_base_ = [
    '../../_base_/models/recognizer_vit-base.py',
    '../../_base_/datasets/hmdb51_recognition.py',
    '../../_base_/schedules/finetune_30e.py',
    '../../_base_/runtime/recognition.py',
]
# Written by this config of configs/amd/pretrain. Any checkpoint with a ViT-B will do.
_pretrained = 'work_dirs/amd_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400/epoch_200.pth'
model = dict(
    data_preprocessor=dict(blending=_base_._blending),
    backbone=dict(pretrained=_pretrained),
    cls_head=dict(num_classes=_base_._num_classes, dropout_ratio=0.5),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=60)
auto_scale_lr = dict(base_batch_size=64)
