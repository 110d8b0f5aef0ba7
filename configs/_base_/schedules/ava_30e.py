# Fine-tuning on AVA (table S3 of the paper's supplement): 128 clips a step at
# lr 2.5e-4, 30 epochs, each clip once an epoch.
_base_ = 'finetune.py'
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
train_cfg = dict(val_interval=5)
auto_scale_lr = dict(enable=False, base_batch_size=128)
