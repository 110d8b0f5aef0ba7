# MVD: ViT-S from MAE's and VideoMAE's ViT-B on Kinetics-400.
#
# 32 GPUs x 32 videos = 1024 clips per step at lr 6e-4. On 8 GPUs, add
# optim_wrapper.accumulative_counts=4.
_base_ = [
    '../../_base_/models/mvd_vit-small_vit-base.py',
    '../../_base_/datasets/k400_one_view.py',
    '../../_base_/schedules/mvd_400e.py',
    '../../_base_/runtime/pretrain.py',
]
# MAE, normed pixels; VideoMAE, K400, 1600 epochs; in any format of tools/convert_checkpoint.py.
model = dict(
    teacher=dict(
        image=dict(checkpoint='checkpoints/mae_pretrain_vit_base.pth'),
        video=dict(checkpoint='checkpoints/videomae_vit-base_k400-1600e.pth'),
    )
)
