# As for pre-training, and the checkpoint that validates best is kept.
_base_ = 'pretrain.py'
# MMPretrain's RandAugment names its transforms without a scope.
default_scope = 'mmpretrain'
default_hooks = dict(checkpoint=dict(interval=1, save_best='accuracy/top1', rule='greater'))
