# VideoMAE: ViT-B on Something-Something v2, 800 epochs.
#
# 32 GPUs x 64 clips (16 videos x 4 samples) = 2048 clips a step at lr 1.2e-3,
# the scripts' 1.5e-4 for every 256 clips (the paper gives the same rule). On 8
# GPUs add optim_wrapper.accumulative_counts=4.
_base_ = [
    '../../_base_/models/videomae_vit-base.py',
    '../../_base_/datasets/sthv2.py',
    '../../_base_/schedules/videomae_800e.py',
    '../../_base_/runtime/pretrain.py',
]
