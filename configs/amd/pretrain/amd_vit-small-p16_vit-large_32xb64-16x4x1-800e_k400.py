# AMD: ViT-S from ViT-L on Kinetics-400, 800 epochs.
#
# 32 GPUs x 64 clips (16 videos x 4 samples) = 2048 clips a step at lr 2.4e-3,
# the value of the public scripts; the paper's table S1 reads 1.2e-3
# (_base_/schedules/amd_800e.py has the rest). On 8 GPUs add
# optim_wrapper.accumulative_counts=4; for another batch, --auto-scale-lr.
_base_ = [
    '../../_base_/models/amd_vit-small_vit-large.py',
    '../../_base_/datasets/k400.py',
    '../../_base_/schedules/amd_800e.py',
    '../../_base_/runtime/pretrain.py',
]
# VideoMAE ViT-L, K400, 1600 epochs; any format of tools/convert_checkpoint.py.
teacher_checkpoint = 'checkpoints/videomae_vit-large_k400-1600e.pth'
model = dict(teacher=dict(checkpoint=teacher_checkpoint))
