_base_ = 'amd_vit-small_vit-large.py'
model = dict(
    teacher=dict(backbone=dict(embed_dims=768, depth=12, num_heads=12)),
    layer_pairs=[(6, 6), (12, 12)],
)
