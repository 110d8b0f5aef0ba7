# As for pre-training, and the checkpoint that validates best is kept.
_base_ = 'pretrain.py'
default_hooks = dict(checkpoint=dict(interval=1, save_best='acc/top1', rule='greater'))
