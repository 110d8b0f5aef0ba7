# As for pre-training; also keeps the checkpoint with the best validation result.
_base_ = 'pretrain.py'
default_hooks = dict(checkpoint=dict(interval=1, save_best='acc/top1', rule='greater'))
