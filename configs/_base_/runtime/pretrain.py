# What every pre-training run has in common, whatever it learns from.
custom_imports = dict(imports=['amd_mm'])
default_scope = 'mmaction'

default_hooks = dict(
    runtime_info=dict(type='amd_mm.DeferredRuntimeInfoHook'),
    timer=dict(type='mmengine.IterTimerHook'),
    logger=dict(type='mmengine.LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='mmengine.ParamSchedulerHook'),
    # Whole passes over the data: of others only the checkpoint of a stop
    # (StopOnSignalHook) is resumed exactly.
    checkpoint=dict(type='amd_mm.AtomicCheckpointHook', interval=5, max_keep_ckpts=2),
    sampler_seed=dict(type='mmengine.DistSamplerSeedHook'),
)
custom_hooks = [
    dict(type='amd_mm.StrictLoadHook'),
    dict(type='amd_mm.StepSeedHook'),
    dict(type='amd_mm.FiniteLossHook'),
    dict(type='amd_mm.UnreadableVideosHook'),
    dict(type='amd_mm.ThroughputHook'),
    dict(type='amd_mm.RunSummaryHook'),
    dict(type='amd_mm.StopOnSignalHook'),
]

# A resumed run has to draw what the first one would have drawn.
randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# The model has no buffers that change, and gradients need not be copied out of
# the buckets they travel in. No static_graph: with accumulative_counts > 1 it
# ends in an internal error of PyTorch (seen with 2.13).
model_wrapper_cfg = dict(
    type='mmengine.MMDistributedDataParallel', broadcast_buffers=False, gradient_as_bucket_view=True
)

# Averaged over the window: as by default, and the figures of the layers.
log_processor = dict(
    type='mmengine.LogProcessor',
    window_size=20,
    by_epoch=True,
    mean_pattern=r'.*(loss|time|data_time|grad_norm|_layer).*',
)
visualizer = dict(type='mmengine.Visualizer', vis_backends=[dict(type='mmengine.LocalVisBackend')])
log_level = 'INFO'

load_from = None
resume = False
