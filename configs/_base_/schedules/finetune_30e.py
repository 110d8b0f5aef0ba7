# Fine-tuning (Tables S2 and S3): AdamW, layer-wise learning rate decay, 5 epochs of warm-up,
# cosine. A config sets lr, decay_rate and max_epochs.
#
# Warm-up starts, and the cosine ends, at a thousandth of the learning rate (public scripts: 1e-6
# per 256 videos of a step); as ratios, because each layer has its own learning rate.
optim_wrapper = dict(
    type='amd_mm.GuardedOptimWrapper',
    precision='auto',
    # Multiplies the learning rate of a layer by decay_rate ** (num_layers + 1 - layer): the patch
    # embedding is layer 0, the head layer num_layers + 1. Biases and 1-D parameters do not decay.
    constructor='mmaction.LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_type='layer_wise', decay_rate=0.75, num_layers=12),
    optimizer=dict(
        type='mmengine.AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05, fused=True
    ),
)
param_scheduler = [
    dict(
        type='mmengine.LinearLR',
        start_factor=1e-3,
        begin=0,
        end=5,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='mmengine.CosineAnnealingLR',
        eta_min_ratio=1e-3,
        begin=5,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='mmengine.EpochBasedTrainLoop', max_epochs=30, val_interval=1)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')
# For --auto-scale-lr. Like batch_size, it counts videos.
auto_scale_lr = dict(enable=False, base_batch_size=256)
