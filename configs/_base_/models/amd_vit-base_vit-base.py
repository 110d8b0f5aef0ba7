_base_ = 'amd_vit-small_vit-base.py'
model = dict(backbone=dict(embed_dims=768, num_heads=12), decoder=dict(embed_dims=384, num_heads=6))
