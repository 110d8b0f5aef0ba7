# AMD: ViT-S from ViT-L on ImageNet-1K, 800 epochs.
#
# The paper gives the number of epochs. Its mask ratios for images and the rest
# of the recipe are in no public code: the ratios (0.75, 0.50) are our choice,
# decoder, target and schedule are MAE's.
#
# 16 GPUs x 256 images = 4096 a step at lr 2.4e-3. On 8 GPUs add
# optim_wrapper.accumulative_counts=2; for another batch, --auto-scale-lr.
_base_ = [
    '../../_base_/models/image_amd_vit-small_vit-large.py',
    '../../_base_/datasets/imagenet_pretrain.py',
    '../../_base_/schedules/mae_800e.py',
    '../../_base_/runtime/pretrain.py',
]
# MAE ViT-L, encoder only, of its authors; any format of
# tools/convert_checkpoint.py.
teacher_checkpoint = 'checkpoints/mae_pretrain_vit_large.pth'
model = dict(teacher=dict(checkpoint=teacher_checkpoint))
