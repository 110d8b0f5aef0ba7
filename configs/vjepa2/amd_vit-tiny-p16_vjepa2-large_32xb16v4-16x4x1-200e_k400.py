# AMD: ViT-Ti (192 wide, 3 heads) from V-JEPA 2 ViT-L, see the config of ViT-S. Nobody has trained
# it.
_base_ = './amd_vit-small-p16_vjepa2-large_32xb16v4-16x4x1-200e_k400.py'
model = dict(backbone=dict(embed_dims=192, num_heads=3), decoder=dict(embed_dims=96, num_heads=3))
