# AMD: ViT-B from ViT-L on Kinetics-400, 800 epochs, under FSDP.
#
# All but the runtime is that of the config of the same name without "-fsdp";
# the notes on batch and learning rate are there.
_base_ = [
    '../_base_/models/amd_vit-base_vit-large.py',
    '../_base_/datasets/k400.py',
    '../_base_/schedules/amd_800e.py',
    '../_base_/runtime/fsdp.py',
]
teacher_checkpoint = 'checkpoints/videomae_vit-large_k400-1600e.pth'
model = dict(teacher=dict(checkpoint=teacher_checkpoint))
