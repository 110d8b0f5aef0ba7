# ImageNet-1K without labels, with MAE's augmentation. A folder of images of your own is searched
# recursively:
#     --cfg-options train_dataloader.dataset.data_root=/my/images
train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='amd_mm.EpochSeededSampler', shuffle=True),
    collate_fn=dict(type='amd_mm.stack_images_collate'),
    dataset=dict(
        type='amd_mm.ImageDataset',
        data_root='data/imagenet/train',
        with_label=False,
        pipeline=[
            dict(type='amd_mm.LoadImage'),
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=224,
                crop_ratio_range=(0.2, 1.0),
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
