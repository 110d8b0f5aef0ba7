# AMD: ViT-B from ViT-L on Kinetics-400 with FSDP; otherwise the config of the same name in
# configs/amd/pretrain.
_base_ = [
    '../_base_/models/amd_vit-base_vit-large.py',
    '../_base_/datasets/k400.py',
    '../_base_/schedules/amd_200e.py',
    '../_base_/runtime/fsdp.py',
]
model = dict(teacher=dict(checkpoint='checkpoints/videomae_vit-large_k400-1600e.pth'))
