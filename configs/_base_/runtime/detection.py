# As for pre-training, and the checkpoint that validates best is kept.
_base_ = 'pretrain.py'
default_hooks = dict(checkpoint=dict(interval=1, save_best='mAP/overall', rule='greater'))
log_processor = dict(mean_pattern=r'.*(loss|time|data_time|grad_norm|_layer|recall|prec).*')
