_base_ = 'image_finetune_vit-small.py'
model = dict(backbone=dict(arch='base'), head=dict(in_channels=768))
