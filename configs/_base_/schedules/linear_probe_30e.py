# Linear probe: SGD without weight decay, learning rate 0.1 per 256 videos, 30 epochs, 3 of warm-up,
# cosine to 0. AMD and VideoMAE publish no recipe. This is MAE's for images, with SGD instead of
# LARS (MAE's step has 16384 images) and 30 epochs instead of 90.
optim_wrapper = dict(
    type='amd_mm.GuardedOptimWrapper',
    precision='auto',
    constructor='amd_mm.TrainableOnlyConstructor',
    optimizer=dict(type='mmengine.SGD', lr=0.2, momentum=0.9, weight_decay=0.0),
)
param_scheduler = [
    dict(
        type='mmengine.LinearLR',
        start_factor=1e-3,
        begin=0,
        end=3,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='mmengine.CosineAnnealingLR',
        eta_min=0.0,
        begin=3,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='mmengine.EpochBasedTrainLoop', max_epochs=30, val_interval=1)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')
# For --auto-scale-lr. Like batch_size, it counts videos.
auto_scale_lr = dict(enable=False, base_batch_size=512)
