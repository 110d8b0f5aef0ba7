# ImageNet-1K without labels for TinyMIM: two views of one crop. In the student's view, the colours
# are jittered as in the released code; the paper does not mention it.
_base_ = 'imagenet_pretrain.py'
_pipeline = _base_.train_dataloader.dataset.pipeline
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            *_pipeline[:3],
            dict(
                type='mmpretrain.MultiView',
                num_views=[1, 1],
                transforms=[
                    [  # of the student
                        dict(
                            type='mmpretrain.ColorJitter',
                            brightness=0.4,
                            contrast=0.4,
                            saturation=0.4,
                        )
                    ],
                    [],  # of the teacher
                ],
            ),
            _pipeline[3],
        ]
    )
)
