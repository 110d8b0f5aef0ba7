# MAE: ViT-B on ImageNet-1K, 1600 epochs.
#
# 16 GPUs x 256 images = 4096 a step at lr 2.4e-3. On 8 GPUs add
# optim_wrapper.accumulative_counts=2; for another batch, --auto-scale-lr.
_base_ = [
    '../../_base_/models/mae_vit-base.py',
    '../../_base_/datasets/imagenet_pretrain.py',
    '../../_base_/schedules/mae_1600e.py',
    '../../_base_/runtime/pretrain.py',
]
