# As for pre-training; also keeps the checkpoint with the best validation result.
_base_ = 'pretrain.py'
default_scope = 'mmpretrain'  # MMPretrain's RandAugment builds its transforms without a scope
default_hooks = dict(checkpoint=dict(interval=1, save_best='accuracy/top1', rule='greater'))
