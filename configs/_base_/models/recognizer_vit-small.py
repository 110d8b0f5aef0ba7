# A recogniser: mean over the tokens -> fc_norm -> linear classifier, whose
# weights start at a thousandth of the usual 0.02. A leaf gives num_classes and
# blending; both come from its data set.
model = dict(
    type='mmaction.Recognizer3D',
    data_preprocessor=dict(
        type='mmaction.ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
    ),
    backbone=dict(
        type='amd_mm.VideoVisionTransformer',
        img_size=224,
        num_frames=16,
        embed_dims=384,
        depth=12,
        num_heads=6,
        drop_path_rate=0.1,
    ),
    cls_head=dict(
        type='mmaction.TimeSformerHead',
        in_channels=384,
        init_std=2e-5,
        label_smooth_eps=0.1,
        average_clips='prob',
    ),
)
