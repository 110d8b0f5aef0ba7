# DMAE, preset `paper`: what the paper's text says. A two-layer MLP with GELU
# and a hidden layer of the teacher's width; plain L1, the mean over all
# elements; teachers mae_pretrain_vit_*. The paper does not say whether pixels
# are normed: here they are, as those teachers were trained.
_base_ = 'image_teachers.py'
dmae_neck = dict(
    type='amd_mm.DirectAlignment',
    hidden=True,
    loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1'),
)
dmae_head = dict(type='amd_mm.PixelReconstructionHead', target='per_patch')
