# MAE: ViT-L on ImageNet-1K.
#
# 16 GPUs x 256 images = 4096 images per step at lr 2.4e-3. On 8 GPUs, add
# optim_wrapper.accumulative_counts=2.
_base_ = [
    '../../_base_/models/mae_vit-base.py',
    '../../_base_/datasets/imagenet_pretrain.py',
    '../../_base_/schedules/mae_800e.py',
    '../../_base_/runtime/pretrain.py',
]
model = dict(backbone=dict(arch='large'))
train_cfg = dict(max_epochs=1600)
