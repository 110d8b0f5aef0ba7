# DMAE's alignment added to MoCo v3: ViT-S from ViT-B on ImageNet-1K, 300
# epochs. Model, views and schedule are those of MMPretrain's
# mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k; the alignment is that of
# the preset `released`. DMAE's paper has +1.4 with MoCo v3, without a recipe.
#
# 16 GPUs x 256 images = 4096 a step at lr 2.4e-3; else --auto-scale-lr.
_base_ = [
    '../../_base_/models/dmae_released.py',
    '../../_base_/datasets/imagenet_mocov3.py',
    '../../_base_/schedules/mae_800e.py',
    '../../_base_/runtime/pretrain.py',
]
# MMPretrain's mocov3_vit-base-p16_16xb256-amp-coslr-300e_in1k.
teacher_checkpoint = 'checkpoints/mocov3_vit-base-p16_300e_in1k.pth'
_projection = dict(
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
    neck=dict(in_channels=384, num_layers=3, **_projection),
    head=dict(
        type='mmpretrain.MoCoV3Head',
        predictor=dict(in_channels=256, num_layers=2, **_projection),
        loss=dict(type='mmpretrain.CrossEntropyLoss', loss_weight=0.4),
        temperature=0.2,
    ),
    teacher=dict(checkpoint=teacher_checkpoint, **_base_.image_vit_base_teacher),
    alignment=_base_.dmae_neck,
    layer_pairs=[(9, 9)],
)
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999), weight_decay=0.1))
max_epochs = 300
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_epochs
train_cfg = dict(max_epochs=max_epochs)
