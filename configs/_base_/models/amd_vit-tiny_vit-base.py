_base_ = 'amd_vit-small_vit-base.py'
model = dict(backbone=dict(embed_dims=192, num_heads=3), decoder=dict(embed_dims=96, num_heads=3))
