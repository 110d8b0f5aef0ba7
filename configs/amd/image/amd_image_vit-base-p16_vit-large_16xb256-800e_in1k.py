# AMD: ViT-B from ViT-L on ImageNet-1K.
#
# The paper gives the number of epochs; the rest of its recipe for images is in no public code.
# Decoder, target and schedule are MAE's, the mask ratios our choice.
#
# 16 GPUs x 256 images = 4096 images per step at lr 2.4e-3. On 8 GPUs, add
# optim_wrapper.accumulative_counts=2.
_base_ = [
    '../../_base_/models/image_amd_vit-base_vit-large.py',
    '../../_base_/datasets/imagenet_pretrain.py',
    '../../_base_/schedules/mae_800e.py',
    '../../_base_/runtime/pretrain.py',
]
# MAE's ViT-L encoder, as its authors publish it.
model = dict(teacher=dict(checkpoint='checkpoints/mae_pretrain_vit_large.pth'))
