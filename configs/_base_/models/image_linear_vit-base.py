_base_ = 'image_linear_vit-small.py'
model = dict(backbone=dict(arch='base'), neck=dict(input_features=768), head=dict(in_channels=768))
