# AMD: ViT-S from ViT-L on raw frames; all else, and the notes on batch and
# learning rate, are those of Something-Something v2 as videos.
_base_ = [
    '../../_base_/models/amd_vit-small_vit-large.py',
    '../../_base_/datasets/sthv2_rawframes.py',
    '../../_base_/schedules/amd_800e.py',
    '../../_base_/runtime/pretrain.py',
]
teacher_checkpoint = 'checkpoints/videomae_vit-large_sthv2-2400e.pth'
model = dict(teacher=dict(checkpoint=teacher_checkpoint))
