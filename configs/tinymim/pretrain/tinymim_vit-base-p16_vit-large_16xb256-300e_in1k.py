# TinyMIM: ViT-B from ViT-L on ImageNet-1K.
#
# 16 GPUs x 256 images = 4096 images per step at lr 2.4e-3. On 8 GPUs, add
# optim_wrapper.accumulative_counts=2.
_base_ = [
    '../../_base_/models/tinymim_vit-base_vit-large.py',
    '../../_base_/datasets/imagenet_tinymim.py',
    '../../_base_/schedules/tinymim_300e.py',
    '../../_base_/runtime/pretrain.py',
]
# MAE's ViT-L encoder, as its authors publish it.
model = dict(teacher=dict(checkpoint='checkpoints/mae_pretrain_vit_large.pth'))
