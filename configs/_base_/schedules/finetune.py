# Fine-tuning (tables S2 and S3 of the paper's supplement): AdamW, layer-wise
# decay of the learning rate, 5 epochs of warm-up, cosine. A leaf gives lr,
# decay_rate and max_epochs. An epoch is a pass over the videos, each of which
# gives num_views clips.
#
# Warm-up starts, and the cosine ends, at a thousandth of the learning rate
# (the public scripts: 1e-6 for every 256 videos of a step). As ratios, because
# every layer has a learning rate of its own.
max_epochs = 30

optim_wrapper = dict(
    type='amd_mm.GuardedOptimWrapper',
    precision='bf16',
    # decay_rate ** (num_layers + 1 - layer); the head is layer num_layers + 1,
    # the patch embedding 0. No weight decay for biases and 1-D parameters.
    constructor='mmaction.LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_type='layer_wise', decay_rate=0.75, num_layers=12),
    optimizer=dict(type='amd_mm.FusedAdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
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
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='mmengine.EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')
