# As for pre-training; also keeps the checkpoint with the best validation result.
_base_ = 'pretrain.py'
default_hooks = dict(checkpoint=dict(interval=1, save_best='mAP/overall', rule='greater'))
log_processor = dict(mean_pattern=r'.*(loss|time|data_time|grad_norm|_layer|recall|prec).*')
