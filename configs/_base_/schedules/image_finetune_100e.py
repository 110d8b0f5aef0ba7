# Fine-tuning on images, MAE's recipe for its ViT-B: 100 epochs, 5 of warm-up, layer decay 0.65.
# Learning rate 5e-4 per 256 images = 2e-3 for the 1024 images of a step.
optim_wrapper = dict(
    type='amd_mm.GuardedOptimWrapper',
    precision='auto',
    constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
    optimizer=dict(
        type='mmengine.AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05, fused=True
    ),
    paramwise_cfg=dict(
        layer_decay_rate=0.65,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
    ),
)
# The end (1e-6) is a ratio, because each layer has its own learning rate.
param_scheduler = [
    dict(
        type='mmengine.LinearLR',
        start_factor=1e-4,
        begin=0,
        end=5,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='mmengine.CosineAnnealingLR',
        eta_min_ratio=1e-6 / 2e-3,
        begin=5,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='mmengine.EpochBasedTrainLoop', max_epochs=100, val_interval=1)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=1024)
