# AMD: ViT-S from ViT-B on a folder of videos.
#
# 32 GPUs x 16 videos x 4 views = 2048 clips per step at lr 2.4e-3, the value of the public scripts;
# Table S1 reads 1.2e-3. On 8 GPUs, add optim_wrapper.accumulative_counts=4.
#
#     --cfg-options train_dataloader.dataset.data_root=/my/videos model.teacher.checkpoint=FILE
_base_ = [
    '../../_base_/models/amd_vit-small_vit-base.py',
    '../../_base_/datasets/folder.py',
    '../../_base_/schedules/amd_200e.py',
    '../../_base_/runtime/pretrain.py',
]
# VideoMAE ViT-B, K400, 1600 epochs, in any format of tools/convert_checkpoint.py.
model = dict(teacher=dict(checkpoint='checkpoints/videomae_vit-base_k400-1600e.pth'))
