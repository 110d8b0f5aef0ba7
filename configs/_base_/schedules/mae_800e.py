# MAE, 800 epochs, 40 of warm-up: base lr 1.5e-4 for 256 images, so 2.4e-3 for
# the 4096 of a step; cosine to 0. No decay of biases and 1-D parameters.
max_epochs = 800
warmup_epochs = 40

optim_wrapper = dict(
    type='amd_mm.GuardedOptimWrapper',
    precision='bf16',
    optimizer=dict(type='amd_mm.FusedAdamW', lr=2.4e-3, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)

# By iteration. The start is a ratio, so that it follows a changed lr.
param_scheduler = [
    dict(
        type='mmengine.LinearLR',
        start_factor=1e-4,
        begin=0,
        end=warmup_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='mmengine.CosineAnnealingLR',
        eta_min=0.0,
        begin=warmup_epochs,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='mmengine.EpochBasedTrainLoop', max_epochs=max_epochs)

# --auto-scale-lr: in images over all GPUs.
auto_scale_lr = dict(enable=False, base_batch_size=4096)
