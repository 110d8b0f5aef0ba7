_base_ = 'linear_probe_vit-small.py'
model = dict(backbone=dict(embed_dims=768, num_heads=12), cls_head=dict(in_channels=768))
