# Repeated sampling: a video is decoded once a pass, into one clip, of which
# num_views crops are made, each with masks of its own. batch_size of a data
# loader counts videos; what a GPU computes on is clips:
#     clips_per_gpu = batch_size * num_views
#
# To change it from the command line set train_dataloader.batch_size.
clips_per_gpu = 64
num_views = 4

# As published: one of 13 fixed places and of 4 scales, no flip.
view_transforms = [
    dict(
        type='mmaction.MultiScaleCrop',
        input_size=224,
        scales=(1, 0.875, 0.75, 0.66),
        max_wh_scale_gap=1,
        num_fixed_crops=13,
    ),
    dict(type='amd_mm.ResizeClip', scale=(224, 224), keep_ratio=False),
    dict(type='mmaction.FormatShape', input_format='NCTHW'),
    dict(type='mmaction.PackActionInputs'),
]

train_dataloader = dict(
    batch_size=clips_per_gpu // num_views,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='amd_mm.EpochSeededSampler', shuffle=True),
    collate_fn=dict(type='amd_mm.one_tensor_collate'),
)
