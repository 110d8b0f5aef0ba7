# ImageNet-1K with labels: train and val have a folder per class. Augmentation of MAE's fine-tuning:
# rand-m9-mstd0.5-inc1, random erasing 0.25.
#
# A class-balanced subset of the labels, the same in every run:
#     --cfg-options train_dataloader.dataset.label_fraction=0.01
_base_ = 'imagenet_pretrain.py'
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        with_label=True,
        pipeline=[
            dict(type='amd_mm.LoadImage'),
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=224,
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(
                type='mmpretrain.RandAugment',
                policies='timm_increasing',
                num_policies=2,
                total_level=10,
                magnitude_level=9,
                magnitude_std=0.5,
                hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
            ),
            dict(
                type='mmpretrain.RandomErasing',
                erase_prob=0.25,
                mode='rand',
                min_area_ratio=0.02,
                max_area_ratio=1 / 3,
                fill_color=[103.53, 116.28, 123.675],  # BGR, as images are loaded
                fill_std=[57.375, 57.12, 58.395],
            ),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    collate_fn=dict(type='amd_mm.stack_images_collate'),
    dataset=dict(
        type='amd_mm.ImageDataset',
        data_root='data/imagenet/val',
        test_mode=True,
        pipeline=[
            dict(type='amd_mm.LoadImage'),
            dict(
                type='mmpretrain.ResizeEdge',
                scale=256,
                edge='short',
                backend='pillow',
                interpolation='bicubic',
            ),
            dict(type='mmpretrain.CenterCrop', crop_size=224),
            dict(type='mmpretrain.PackInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
