# DMAE's comparison: the features of MAE's fine-tuned ViT-L are aligned while MAE's ViT-B is
# fine-tuned. Layers and loss of the preset `released`, MAE's recipe.
_base_ = [
    '../../_base_/models/image_finetune_vit-base.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
model = dict(
    type='amd_mm.AlignedClassifier',
    backbone=dict(pretrained='checkpoints/mae_pretrain_vit_base.pth'),
    teacher=dict(
        type='amd_mm.FrozenTeacher',
        dtype='bfloat16',
        backbone=dict(
            type='amd_mm.ImageVisionTransformer', arch='large', img_size=224, patch_size=16
        ),
        checkpoint='checkpoints/mae_finetuned_vit_large.pth',  # as MAE's authors publish it
    ),
    alignment=dict(
        type='amd_mm.DirectAlignment',
        hidden=False,
        loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1', normalize=True),
        init_cfg=None,
    ),
    layer_pairs=[(9, 18)],
)
