# AMD: a ViT-S, which sees 160 of 1568 tokens, learns from a frozen ViT-L, which sees 392.
_base_ = 'videomae_vit-small.py'
model = dict(
    type='amd_mm.AMD',
    mask_generator=dict(teacher_ratio=0.75),
    teacher=dict(
        type='amd_mm.FrozenTeacher',
        # Autocast computes in bfloat16 anyway; stored like this, the weights take half the memory.
        dtype='bfloat16',
        backbone=dict(
            type='amd_mm.VideoVisionTransformer',
            img_size=224,
            num_frames=16,
            embed_dims=1024,
            depth=24,
            num_heads=16,
            use_mean_pooling=False,
        ),
    ),
    # The paper's four necks: Direct-, Generation-, Parallel- and SerialAlignment.
    neck=dict(
        type='amd_mm.SerialAlignment', loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l2')
    ),
    layer_pairs=[(6, 12), (12, 24)],  # (student, teacher), counted from 1
)
