# A linear probe of a ViT-S, as MAE does it: the frozen class token after the
# final norm -> batch norm without weights -> linear layer.
#
# Start: --cfg-options model.backbone.pretrained=FILE, in any format that
# tools/convert_checkpoint.py knows.
model = dict(
    type='mmpretrain.ImageClassifier',
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor',
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type='amd_mm.ImageVisionTransformer',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        frozen_stages=12,
        out_type='cls_token',
    ),
    neck=dict(type='mmpretrain.ClsBatchNormNeck', input_features=384),
    head=dict(
        type='mmpretrain.LinearClsHead',
        num_classes=1000,
        in_channels=384,
        init_cfg=dict(type='mmengine.TruncNormal', layer='Linear', std=0.01),
    ),
)
