# VideoMAE with a ViT-S. A clip of 16 frames of 224 x 224 is 1568 tokens; tube masks hide 90 % of
# them (160 stay visible).
model = dict(
    type='amd_mm.MaskedAutoencoder',
    data_preprocessor=dict(
        type='amd_mm.ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    backbone=dict(
        type='amd_mm.VideoVisionTransformer',
        img_size=224,
        num_frames=16,
        embed_dims=384,
        depth=12,
        num_heads=6,
        use_mean_pooling=False,
        # The initialisation of the public programs. MMAction2's is a truncated normal.
        init_cfg=[
            dict(type='mmengine.Xavier', layer='Linear', distribution='uniform', bias=0.0),
            dict(type='mmengine.Constant', layer='LayerNorm', val=1.0),
        ],
    ),
    mask_generator=dict(type='amd_mm.AsymmetricTubeMaskGenerator', student_ratio=0.9),
    decoder=dict(type='amd_mm.PixelDecoder', embed_dims=192, depth=4, num_heads=3),
    head=dict(type='amd_mm.PixelReconstructionHead', target='per_channel'),
)
