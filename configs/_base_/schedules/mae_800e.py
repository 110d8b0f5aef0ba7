# MAE: 800 epochs, 40 of warm-up, cosine to 0. Learning rate 1.5e-4 per 256 images = 2.4e-3 for the
# 4096 images of a step. No weight decay of biases and 1-D parameters.
optim_wrapper = dict(
    type='amd_mm.GuardedOptimWrapper',
    precision='auto',
    optimizer=dict(
        type='mmengine.AdamW', lr=2.4e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True
    ),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
# By iteration. The cosine ends with train_cfg.max_epochs.
param_scheduler = [
    dict(
        type='mmengine.LinearLR',
        start_factor=1e-4,
        begin=0,
        end=40,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='mmengine.CosineAnnealingLR',
        eta_min=0.0,
        begin=40,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='mmengine.EpochBasedTrainLoop', max_epochs=800)
auto_scale_lr = dict(enable=False, base_batch_size=4096)
