# AMD's ViT-Ti, fine-tuned on HMDB51, by the recipe of ViT-B but without drop path.
_base_ = 'amd_vit-base-p16_8xb8v2-16x2x1-60e_hmdb51.py'
_pretrained = 'work_dirs/amd_vit-tiny-p16_vit-base_32xb16v4-16x4x1-200e_k400/epoch_200.pth'
model = dict(
    backbone=dict(embed_dims=192, num_heads=3, pretrained=_pretrained, drop_path_rate=0.0),
    cls_head=dict(in_channels=192),
)
