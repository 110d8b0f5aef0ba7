# VideoMAE: ViT-B on a folder of videos, a teacher of your own.
#
# 32 GPUs x 16 videos x 4 views = 2048 clips per step at lr 1.2e-3: 1.5e-4 per 256 clips, in the
# scripts as in the paper. On 8 GPUs, add optim_wrapper.accumulative_counts=4.
#
#     --cfg-options train_dataloader.dataset.data_root=/my/videos
_base_ = [
    '../../_base_/models/videomae_vit-base.py',
    '../../_base_/datasets/folder.py',
    '../../_base_/schedules/videomae_200e.py',
    '../../_base_/runtime/pretrain.py',
]
