# A linear probe: SGD without weight decay, lr 0.1 for every 256 videos, 3
# epochs of warm-up, cosine to 0. Neither AMD nor VideoMAE publishes a recipe;
# this is MAE's for images with SGD for LARS (it has batches of 16384) and 30
# epochs for 90.
max_epochs = 30

optim_wrapper = dict(
    type='amd_mm.GuardedOptimWrapper',
    precision='bf16',
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
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='mmengine.EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')
# In videos: batch_size of the data loader over all GPUs.
auto_scale_lr = dict(enable=False, base_batch_size=512)
