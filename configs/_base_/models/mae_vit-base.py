# MAE with a ViT-B. An image of 224 x 224 is 196 tokens and a class token; 75 % of the 196 are
# masked (49 stay visible). The decoder is the same for all sizes, as in MAE.
model = dict(
    type='amd_mm.MaskedAutoencoder',
    data_preprocessor=dict(
        type='mmpretrain.SelfSupDataPreprocessor',
        non_blocking=True,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(type='amd_mm.ImageVisionTransformer', arch='base', img_size=224, patch_size=16),
    mask_generator=dict(
        type='amd_mm.AsymmetricRandomMaskGenerator', student_ratio=0.75, round_down='visible'
    ),
    decoder=dict(
        type='amd_mm.PixelDecoder',
        embed_dims=512,
        depth=8,
        num_heads=16,
        key_bias=True,
        embed_bias=True,
    ),
    head=dict(type='amd_mm.PixelReconstructionHead', target='per_patch'),
)
