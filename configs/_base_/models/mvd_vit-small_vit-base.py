# MVD: a ViT-S, which sees 160 of 1568 tokens, predicts at the 1408 others the features of two
# frozen ViT-B that see everything: MAE's, which sees the first frame of every tubelet, and
# VideoMAE's.
_base_ = 'videomae_vit-small.py'
_drop_path_rate = 0.1  # of the student and of both decoders
model = dict(
    type='amd_mm.AMD',
    backbone=dict(pos_embed_type='sincos_3d_mvd', drop_path_rate=_drop_path_rate),
    mask_generator=dict(teacher_ratio=0.0),
    # No pixels.
    rec_weight=0.0,
    decoder=None,
    head=None,
    teacher=dict(
        image=dict(
            type='amd_mm.ImageTeacher',
            dtype='bfloat16',  # half the memory; autocast computes in it anyway
            backbone=dict(
                type='amd_mm.ImageVisionTransformer', arch='base', img_size=224, patch_size=16
            ),
        ),
        video=dict(
            type='amd_mm.FrozenTeacher',
            dtype='bfloat16',
            backbone=dict(
                type='amd_mm.VideoVisionTransformer',
                img_size=224,
                num_frames=16,
                embed_dims=768,
                depth=12,
                num_heads=12,
                use_mean_pooling=False,
            ),
        ),
    ),
    # One for each teacher, as wide as the student. The loss is smooth L1.
    neck=dict(type='amd_mm.MaskedTokenDecoder', depth=2, drop_path_rate=_drop_path_rate),
    layer_pairs=[(12, 12)],  # (student, teacher), of both teachers
)
