"""Pipelines that several tests build."""

PACK = [
    dict(type='mmaction.FormatShape', input_format='NCTHW'),
    dict(type='mmaction.PackActionInputs'),
]
CROP = [
    dict(
        type='mmaction.MultiScaleCrop',
        input_size=32,
        scales=(1, 0.875, 0.75, 0.66),
        random_crop=False,
        num_fixed_crops=13,
        max_wh_scale_gap=1,
    ),
    dict(type='mmaction.Resize', scale=(32, 32), keep_ratio=False),
    dict(type='mmaction.Flip', flip_ratio=0.5),
]
SAMPLE = dict(type='mmaction.SampleFrames', clip_len=8, frame_interval=2)


def video_pipeline(num_views=0, backend='decord', min_frames=1):
    """Open, sample, decode; then crop and pack once or ``num_views`` times."""
    return [
        dict(type='amd_mm.VideoInit', backend=backend, min_frames=min_frames),
        SAMPLE,
        dict(type='amd_mm.VideoDecode'),
    ] + views(num_views)


def frame_pipeline(num_views=0):
    """The same for folders of frames."""
    return [SAMPLE, dict(type='amd_mm.CheckedRawFrameDecode')] + views(num_views)


def views(num_views):
    """Crop and pack, once (0) or so many times."""
    if num_views == 0:
        return CROP + PACK
    return [dict(type='amd_mm.RepeatedViews', num_views=num_views, transforms=CROP + PACK)]
