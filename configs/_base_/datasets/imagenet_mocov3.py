# ImageNet-1K without labels, in the two views of MoCo v3 for ViTs.
_base_ = 'imagenet_pretrain.py'


def _view(blur: float, solarize: float) -> list:
    return [
        dict(
            type='mmpretrain.RandomResizedCrop',
            scale=224,
            crop_ratio_range=(0.08, 1.0),
            backend='pillow',
        ),
        dict(
            type='mmcv.RandomApply',
            transforms=[
                dict(
                    type='mmpretrain.ColorJitter',
                    brightness=0.4,
                    contrast=0.4,
                    saturation=0.2,
                    hue=0.1,
                )
            ],
            prob=0.8,
        ),
        dict(
            type='mmcv.RandomGrayscale',
            prob=0.2,
            keep_channels=True,
            channel_weights=(0.114, 0.587, 0.2989),
        ),
        dict(
            type='mmpretrain.GaussianBlur',
            magnitude_range=(0.1, 2.0),
            magnitude_std='inf',
            prob=blur,
        ),
        dict(type='mmpretrain.Solarize', thr=128, prob=solarize),
        dict(type='mmpretrain.RandomFlip', prob=0.5),
    ]


train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='amd_mm.LoadImage'),
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[_view(blur=1.0, solarize=0.0), _view(blur=0.1, solarize=0.2)],
            ),
            dict(type='mmpretrain.PackInputs'),
        ]
    )
)
