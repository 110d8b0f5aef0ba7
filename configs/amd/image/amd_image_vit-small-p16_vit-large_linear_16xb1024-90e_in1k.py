# AMD on images, linear probing: ViT-S on ImageNet-1K, 90 epochs, MAE's
# recipe. 16 GPUs x 1024 images = 16384 a step at lr 6.4; else --auto-scale-lr.
_base_ = [
    '../../_base_/models/image_linear_vit-small.py',
    '../../_base_/datasets/imagenet_linear.py',
    '../../_base_/schedules/image_linear_90e.py',
    '../../_base_/runtime/image_finetune.py',
]
# The end of pre-training.
start = 'work_dirs/amd_image_vit-small-p16_vit-large_16xb256-800e_in1k/epoch_800.pth'
model = dict(backbone=dict(pretrained=start))
