# DMAE's comparison: MAE's ViT-B learns the predictions of MAE's fine-tuned ViT-L while it is
# fine-tuned. Temperature and weight are our choice, the recipe is MAE's.
_base_ = [
    '../../_base_/models/image_finetune_vit-base.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
model = dict(
    type='amd_mm.LogitDistilledClassifier',
    kind='soft',
    temperature=1.0,
    weight=1.0,
    backbone=dict(pretrained='checkpoints/mae_pretrain_vit_base.pth'),
    teacher=dict(
        type='amd_mm.FrozenClassifier',
        checkpoint='checkpoints/mae_finetuned_vit_large.pth',  # as MAE's authors publish it
        classifier=dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(
                type='amd_mm.ImageVisionTransformer',
                arch='large',
                img_size=224,
                patch_size=16,
                out_type='avg_featmap',
                final_norm=False,
            ),
            head=dict(
                type='mmpretrain.LinearClsHead',
                num_classes=1000,
                in_channels=1024,
                loss=dict(type='mmpretrain.CrossEntropyLoss', loss_weight=1.0),
            ),
        ),
    ),
)
