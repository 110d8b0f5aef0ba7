_clip = dict(img_size=32, num_frames=8, patch_size=8, pos_embed_type='sincos_3d')
_pipeline = [
    dict(backend='pyav', min_frames=8, type='amd_mm.VideoInit'),
    dict(
        clip_len=8,
        frame_interval=1,
        num_clips=1,
        out_of_bound_opt='repeat_last',
        type='mmaction.SampleFrames',
    ),
    dict(type='amd_mm.VideoDecode'),
    dict(
        num_views=8,
        transforms=[
            dict(
                input_size=32,
                max_wh_scale_gap=1,
                num_fixed_crops=13,
                scales=(1, 0.875, 0.75, 0.66),
                type='mmaction.MultiScaleCrop',
            ),
            dict(keep_ratio=False, scale=(32, 32), type='amd_mm.ResizeClip'),
            dict(input_format='NCTHW', type='mmaction.FormatShape'),
            dict(type='mmaction.PackActionInputs'),
        ],
        type='amd_mm.RepeatedViews',
    ),
]
auto_scale_lr = dict(base_batch_size=8, enable=False)
custom_hooks = [
    dict(type='amd_mm.StrictLoadHook'),
    dict(type='amd_mm.StepSeedHook'),
    dict(type='amd_mm.FiniteLossHook'),
    dict(type='amd_mm.UnreadableVideosHook'),
    dict(type='amd_mm.ThroughputHook'),
    dict(type='amd_mm.RunSummaryHook'),
    dict(type='amd_mm.StopOnSignalHook'),
]
custom_imports = dict(imports=['amd_mm'])
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False, interval=300, max_keep_ckpts=1, type='amd_mm.AtomicCheckpointHook'
    ),
    logger=dict(ignore_last=False, interval=50, type='mmengine.LoggerHook'),
    param_scheduler=dict(type='mmengine.ParamSchedulerHook'),
    sampler_seed=dict(type='mmengine.DistSamplerSeedHook'),
    timer=dict(type='mmengine.IterTimerHook'),
)
default_scope = 'mmaction'
env_cfg = dict(
    cudnn_benchmark=True,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
)
load_from = None
log_level = 'INFO'
log_processor = dict(
    by_epoch=False,
    mean_pattern='.*(loss|time|data_time|grad_norm|_layer).*',
    type='mmengine.LogProcessor',
    window_size=20,
)
model = dict(
    backbone=dict(
        depth=4,
        embed_dims=96,
        img_size=32,
        init_cfg=[
            dict(bias=0.0, distribution='uniform', layer='Linear', type='mmengine.Xavier'),
            dict(layer='LayerNorm', type='mmengine.Constant', val=1.0),
        ],
        num_frames=8,
        num_heads=3,
        patch_size=8,
        pos_embed_type='sincos_3d',
        type='amd_mm.VideoVisionTransformer',
        use_mean_pooling=False,
    ),
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], type='amd_mm.ClipPreprocessor'
    ),
    decoder=dict(depth=1, embed_dims=64, num_heads=2, type='amd_mm.PixelDecoder'),
    head=dict(target='pixels', type='amd_mm.PixelReconstructionHead'),
    mask_generator=dict(student_ratio=0.5, type='amd_mm.AsymmetricRandomMaskGenerator'),
    type='amd_mm.MaskedAutoencoder',
)
model_wrapper_cfg = dict(
    broadcast_buffers=False, gradient_as_bucket_view=True, type='mmengine.MMDistributedDataParallel'
)
optim_wrapper = dict(
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(
        betas=(0.9, 0.95), fused=True, lr=0.003, type='mmengine.AdamW', weight_decay=0.05
    ),
    paramwise_cfg=dict(
        bias_decay_mult=0.0,
        custom_keys=dict(mask_token=dict(decay_mult=0.0)),
        flat_decay_mult=0.0,
        norm_decay_mult=0.0,
    ),
    precision='fp32',
    type='amd_mm.GuardedOptimWrapper',
)
param_scheduler = [
    dict(by_epoch=False, end=100, start_factor=0.01, type='mmengine.LinearLR'),
    dict(begin=100, by_epoch=False, eta_min=0.0, type='mmengine.CosineAnnealingLR'),
]
randomness = dict(seed=0)
resume = False
train_cfg = dict(max_iters=600, type='mmengine.IterBasedTrainLoop')
train_dataloader = dict(
    batch_size=8,
    collate_fn=dict(type='amd_mm.stack_views_collate'),
    dataset=dict(
        data_root='work_dirs/quickstart/videos/unlabelled',
        pipeline=[
            dict(backend='pyav', min_frames=8, type='amd_mm.VideoInit'),
            dict(
                clip_len=8,
                frame_interval=1,
                num_clips=1,
                out_of_bound_opt='repeat_last',
                type='mmaction.SampleFrames',
            ),
            dict(type='amd_mm.VideoDecode'),
            dict(
                num_views=8,
                transforms=[
                    dict(
                        input_size=32,
                        max_wh_scale_gap=1,
                        num_fixed_crops=13,
                        scales=(1, 0.875, 0.75, 0.66),
                        type='mmaction.MultiScaleCrop',
                    ),
                    dict(keep_ratio=False, scale=(32, 32), type='amd_mm.ResizeClip'),
                    dict(input_format='NCTHW', type='mmaction.FormatShape'),
                    dict(type='mmaction.PackActionInputs'),
                ],
                type='amd_mm.RepeatedViews',
            ),
        ],
        type='amd_mm.VideoFolderDataset',
    ),
    drop_last=True,
    num_workers=2,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(infinite=True, shuffle=True, type='amd_mm.EpochSeededSampler'),
)
visualizer = dict(type='mmengine.Visualizer', vis_backends=[dict(type='mmengine.LocalVisBackend')])
