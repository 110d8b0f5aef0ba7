# A recogniser: mean over the tokens, fc_norm, linear layer with initial weights of 0.02 x 1e-3. A
# config adds num_classes and the blending of its data set.
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
        loss_cls=dict(type='mmaction.CrossEntropyLoss', loss_weight=1.0),
        label_smooth_eps=0.1,
        average_clips='prob',
    ),
)
