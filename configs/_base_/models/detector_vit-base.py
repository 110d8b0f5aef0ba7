_base_ = 'detector_vit-small.py'
model = dict(
    backbone=dict(embed_dims=768, num_heads=12), roi_head=dict(bbox_head=dict(in_channels=768))
)
