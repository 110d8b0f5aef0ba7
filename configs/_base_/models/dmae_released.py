# DMAE, preset `released`: what the public code computes. One linear layer,
# started as PyTorch starts it, brings the student's features to the teacher's
# width; both sides are brought to unit length over the channels before L1;
# the pixels to reconstruct are not normed (the ViT-L teacher, MAE's
# mae_visualize_vit_large, was trained on such pixels too).
_base_ = 'image_teachers.py'
dmae_neck = dict(
    type='amd_mm.DirectAlignment',
    hidden=False,
    loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1', normalize=True),
    init_cfg=None,
)
dmae_head = dict(type='amd_mm.PixelReconstructionHead', target='pixels')
