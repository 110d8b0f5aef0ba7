_base_ = 'videomae_vit-small.py'
model = dict(
    backbone=dict(embed_dims=1024, depth=24, num_heads=16),
    # VideoMAE's ViT-L has a decoder of 12 blocks, S and B of 4.
    decoder=dict(embed_dims=512, depth=12, num_heads=8),
)
