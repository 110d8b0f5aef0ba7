# ImageNet-1K with labels for linear probing: crop and flip alone.
_base_ = 'imagenet_finetune.py'
train_dataloader = dict(
    batch_size=1024, dataset=dict(pipeline=[*_base_.train_pipeline[:3], _base_.train_pipeline[-1]])
)
