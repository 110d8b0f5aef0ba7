_base_ = 'mvd_vit-small_vit-base.py'
model = dict(
    teacher=dict(
        image=dict(backbone=dict(arch='large')),
        video=dict(backbone=dict(embed_dims=1024, depth=24, num_heads=16)),
    ),
    layer_pairs=[(12, 24)],
)
