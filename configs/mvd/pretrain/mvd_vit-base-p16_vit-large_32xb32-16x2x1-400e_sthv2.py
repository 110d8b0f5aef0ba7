# MVD: ViT-B from MAE's and VideoMAE's ViT-L on Something-Something V2. The paper pre-trains on
# Kinetics-400 only; nobody has trained this.
#
# 32 GPUs x 32 videos = 1024 clips per step at lr 6e-4. On 8 GPUs, add
# optim_wrapper.accumulative_counts=4.
_base_ = [
    '../../_base_/models/mvd_vit-base_vit-large.py',
    '../../_base_/datasets/sthv2_one_view.py',
    '../../_base_/schedules/mvd_400e.py',
    '../../_base_/runtime/pretrain.py',
]
# MAE, normed pixels; VideoMAE, SSV2, 2400 epochs; in any format of tools/convert_checkpoint.py.
model = dict(
    teacher=dict(
        image=dict(checkpoint='checkpoints/mae_pretrain_vit_large.pth'),
        video=dict(checkpoint='checkpoints/videomae_vit-large_sthv2-2400e.pth'),
    )
)
