# DMAE, preset `paper`: the paper's text. A two-layer GELU MLP, whose hidden layer has the
# teacher's width, and plain L1. The paper does not say whether pixels are normalised; they are
# here, because they were in the training of its teachers (mae_pretrain_vit_*).
_base_ = 'dmae_released.py'
model = dict(
    neck=dict(
        _delete_=True,
        type='amd_mm.DirectAlignment',
        hidden=True,
        loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1'),
    ),
    head=dict(target='per_patch'),
)
