# What DMAE compares with: a ViT-B, pre-trained by MAE alone, learns the
# predictions of MAE's fine-tuned ViT-L while it is fine-tuned. Temperature and
# weight are our choice, the recipe is MAE's.
_base_ = [
    '../../_base_/models/image_finetune_vit-base.py',
    '../../_base_/datasets/imagenet_finetune.py',
    '../../_base_/schedules/image_finetune_100e.py',
    '../../_base_/runtime/image_finetune.py',
]
# Of MAE's authors; any format of tools/convert_checkpoint.py.
teacher_checkpoint = 'checkpoints/mae_finetuned_vit_large.pth'
model = dict(
    type='amd_mm.LogitDistilledClassifier',
    kind='soft',
    temperature=1.0,
    weight=1.0,
    backbone=dict(pretrained='checkpoints/mae_pretrain_vit_base.pth'),
    teacher=dict(
        type='amd_mm.FrozenClassifier',
        checkpoint=teacher_checkpoint,
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
            head=dict(type='mmpretrain.LinearClsHead', num_classes=1000, in_channels=1024),
        ),
    ),
)
