# DMAE, preset `released`: the public code. A linear layer projects the student's features to the
# teacher's width; L1 compares both sides after L2 normalisation over the channels; the pixels to
# reconstruct are not normalised. A ViT-B learns from MAE's ViT-L.
_base_ = 'mae_vit-base.py'
model = dict(
    type='amd_mm.AMD',
    teacher=dict(
        type='amd_mm.FrozenTeacher',
        dtype='bfloat16',  # half the memory; autocast computes in it anyway
        backbone=dict(
            type='amd_mm.ImageVisionTransformer', arch='large', img_size=224, patch_size=16
        ),
    ),
    neck=dict(
        type='amd_mm.DirectAlignment',
        hidden=False,
        loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1', normalize=True),
        init_cfg=None,  # PyTorch's default initialisation
    ),
    head=dict(target='pixels'),
    layer_pairs=[(9, 18)],
)
