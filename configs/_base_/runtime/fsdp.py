# As pretrain.py, with weights, gradients and optimiser states sharded over the processes (FSDP),
# for models that are too large for DistributedDataParallel. Needs a launcher.
_base_ = 'pretrain.py'
custom_imports = dict(imports=['amd_mm', 'amd_mm.engine.strategies'])

runner_type = 'mmengine.FlexibleRunner'
strategy = dict(
    type='amd_mm.GuardedFSDPStrategy',
    model_wrapper=dict(
        type='mmengine.MMFullyShardedDataParallel',
        # SHARD_GRAD_OP keeps whole weights between forward and backward: it sends a third less
        # and needs more memory.
        sharding_strategy='FULL_SHARD',
        auto_wrap_policy=dict(
            type='amd_mm.wrap_classes', names=['Block', 'TransformerEncoderLayer']
        ),
        use_orig_params=True,
    ),
    # Whole weights under the usual names: any config can start from them.
    state_dict_cfg='full',
)
custom_hooks = [dict(type='amd_mm.FSDPStrictLoadHook'), *_base_.custom_hooks[1:]]
