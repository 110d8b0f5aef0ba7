"""Pipelines and inputs that several tests share."""

import numpy as np

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


def video_pipeline(num_views=0, min_frames=1):
    """Open, sample, decode; then crop and pack once (0) or ``num_views`` times."""
    return [
        dict(type='amd_mm.VideoInit', min_frames=min_frames),
        SAMPLE,
        dict(type='amd_mm.VideoDecode'),
    ] + crop_and_pack(num_views)


def crop_and_pack(num_views=0):
    if num_views == 0:
        return CROP + PACK
    return [dict(type='amd_mm.RepeatedViews', num_views=num_views, transforms=CROP + PACK)]


def decoded_clip(size=(48, 64), frames=8, seed=0, as_array=False):
    """The results of a decoder: random frames."""
    rng = np.random.default_rng(seed)
    imgs = rng.integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    return dict(
        imgs=imgs if as_array else list(imgs),
        img_shape=size,
        original_shape=size,
        num_clips=1,
        clip_len=frames,
        modality='RGB',
        label=2,
        video_reader=object(),
    )
