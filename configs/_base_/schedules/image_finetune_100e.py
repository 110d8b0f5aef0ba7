# Fine-tuning, 100 epochs, 5 of warm-up: MAE's recipe for its ViT-B, base lr
# 5e-4 for 256 images, so 2e-3 for the 1024 of a step; layer-wise decay 0.65.
max_epochs = 100
warmup_epochs = 5

optim_wrapper = dict(
    type='amd_mm.GuardedOptimWrapper',
    precision='bf16',
    constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
    optimizer=dict(type='amd_mm.FusedAdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        layer_decay_rate=0.65,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
    ),
)

# The end (1e-6 of 2e-3) is a ratio: every layer has a learning rate of its
# own.
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
        eta_min_ratio=1e-6 / 2e-3,
        begin=warmup_epochs,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='mmengine.EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')

auto_scale_lr = dict(enable=False, base_batch_size=1024)
