_base_ = 'image_finetune_vit-small.py'
model = dict(backbone=dict(arch='deit-tiny'), head=dict(in_channels=192))
