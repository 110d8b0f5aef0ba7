# Linear probe on images, MAE's recipe: LARS without weight decay, 90 epochs, 10 of warm-up, cosine
# to 0.
# Learning rate 0.1 per 256 images = 6.4 for the 16384 images of a step.
optim_wrapper = dict(
    type='amd_mm.GuardedOptimWrapper',
    precision='auto',
    constructor='amd_mm.TrainableOnlyConstructor',
    optimizer=dict(type='mmpretrain.LARS', lr=6.4, momentum=0.9, weight_decay=0.0),
)
param_scheduler = [
    dict(
        type='mmengine.LinearLR',
        start_factor=1e-4,
        begin=0,
        end=10,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='mmengine.CosineAnnealingLR',
        eta_min=0.0,
        begin=10,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='mmengine.EpochBasedTrainLoop', max_epochs=90, val_interval=1)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16384)
