# The runtime of pre-training; the other runtimes derive from it.
custom_imports = dict(imports=['amd_mm'])
default_scope = 'mmaction'

default_hooks = dict(
    timer=dict(type='mmengine.IterTimerHook'),
    logger=dict(type='mmengine.LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='mmengine.ParamSchedulerHook'),
    # By epoch: within an epoch, only the checkpoint of StopOnSignalHook resumes exactly.
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
    dict(type='amd_mm.ResumeEpochHook'),
    dict(type='amd_mm.StopOnSignalHook'),
]

randomness = dict(seed=0)  # fixed, so that a resumed run draws the same numbers
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# No buffer of the model changes, and gradients can stay in the communication buckets. static_graph
# fails with accumulative_counts > 1 (an internal error of PyTorch 2.13).
model_wrapper_cfg = dict(
    type='mmengine.MMDistributedDataParallel', broadcast_buffers=False, gradient_as_bucket_view=True
)

# The log shows window averages of MMEngine's default values and of the losses of each layer.
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
