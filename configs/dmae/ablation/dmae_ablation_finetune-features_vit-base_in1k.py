# What DMAE compares with: a ViT-B, pre-trained by MAE alone, is aligned with
# MAE's fine-tuned ViT-L while it is fine-tuned. Blocks and loss are those of
# the preset `released`, the recipe is MAE's.
_base_ = [
    '../../_base_/models/image_finetune_vit-base.py',
    '../../_base_/models/dmae_released.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
# Of MAE's authors; any format of tools/convert_checkpoint.py.
teacher_checkpoint = 'checkpoints/mae_finetuned_vit_large.pth'
model = dict(
    type='amd_mm.AlignedClassifier',
    backbone=dict(pretrained='checkpoints/mae_pretrain_vit_base.pth'),
    teacher=dict(checkpoint=teacher_checkpoint, **_base_.image_vit_large_teacher),
    alignment=_base_.dmae_neck,
    layer_pairs=[(9, 18)],
)
