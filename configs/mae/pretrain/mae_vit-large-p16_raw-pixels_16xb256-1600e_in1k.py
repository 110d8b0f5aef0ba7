# MAE: ViT-L on ImageNet-1K, 1600 epochs, on pixels as they are (no norm_pix),
# as the teacher of DMAE's preset `released` was trained.
_base_ = 'mae_vit-large-p16_16xb256-1600e_in1k.py'
model = dict(head=dict(target='pixels'))
