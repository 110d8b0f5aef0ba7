_base_ = 'mvd_vit-small_vit-base.py'
model = dict(backbone=dict(embed_dims=768, num_heads=12))
