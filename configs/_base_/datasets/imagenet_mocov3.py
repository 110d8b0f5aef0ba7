# ImageNet-1K without its labels in two views, MoCo v3's for ViTs.
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


_base_ = 'imagenet_pretrain.py'
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            _base_.train_pipeline[0],
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[_view(1.0, 0.0), _view(0.1, 0.2)],
            ),
            _base_.train_pipeline[-1],
        ]
    )
)
del _view
