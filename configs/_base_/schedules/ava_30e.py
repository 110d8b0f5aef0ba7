# Fine-tuning on AVA (Table S3): learning rate 2.5e-4 for 128 clips per step, 30 epochs.
_base_ = 'finetune_30e.py'
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
train_cfg = dict(val_interval=5)
auto_scale_lr = dict(base_batch_size=128)
