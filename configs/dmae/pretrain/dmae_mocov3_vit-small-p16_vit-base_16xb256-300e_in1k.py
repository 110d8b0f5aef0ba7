# DMAE's alignment added to MoCo v3: ViT-S from ViT-B on ImageNet-1K. Model, views and schedule are
# those of MMPretrain's mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k, the alignment is that of
# the preset `released`. DMAE's paper reports +1.4 over MoCo v3, without a recipe.
#
# 16 GPUs x 256 images = 4096 images per step at lr 2.4e-3.
_base_ = [
    '../../_base_/datasets/imagenet_mocov3.py',
    '../../_base_/schedules/mae_800e.py',
    '../../_base_/runtime/pretrain.py',
]
_mlp = dict(
    type='mmpretrain.NonLinearNeck',
    hid_channels=4096,
    out_channels=256,
    with_bias=False,
    with_last_bn=True,
    with_last_bn_affine=False,
    with_last_bias=False,
    with_avg_pool=False,
)
model = dict(
    type='amd_mm.AlignedMoCoV3',
    base_momentum=0.01,
    data_preprocessor=dict(
        type='mmpretrain.SelfSupDataPreprocessor',
        non_blocking=True,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type='mmpretrain.MoCoV3ViT',
        arch='mocov3-small',
        img_size=224,
        patch_size=16,
        stop_grad_conv1=True,
    ),
    neck=dict(in_channels=384, num_layers=3, **_mlp),
    head=dict(
        type='mmpretrain.MoCoV3Head',
        predictor=dict(in_channels=256, num_layers=2, **_mlp),
        loss=dict(type='mmpretrain.CrossEntropyLoss', loss_weight=0.4),
        temperature=0.2,
    ),
    teacher=dict(
        type='amd_mm.FrozenTeacher',
        dtype='bfloat16',
        backbone=dict(
            type='amd_mm.ImageVisionTransformer', arch='base', img_size=224, patch_size=16
        ),
        # MMPretrain's mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k.
        checkpoint='checkpoints/mocov3_vit-base-p16_300e_in1k.pth',
    ),
    alignment=dict(
        type='amd_mm.DirectAlignment',
        hidden=False,
        loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1', normalize=True),
        init_cfg=None,
    ),
    layer_pairs=[(9, 9)],
)
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999), weight_decay=0.1))
train_cfg = dict(max_epochs=300)
