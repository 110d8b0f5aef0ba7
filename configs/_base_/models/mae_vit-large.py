_base_ = 'mae_vit-small.py'
model = dict(backbone=dict(arch='large'))
