# AMD: ViT-Ti (192 wide, 3 heads) from ViT-B on Kinetics-400. The paper has no ViT-Ti: size and
# teacher are our choice, the rest is the recipe of ViT-S. Nobody has trained it.
#
# 32 GPUs x 16 videos x 4 views = 2048 clips per step at lr 2.4e-3. On 8 GPUs, add
# optim_wrapper.accumulative_counts=4.
_base_ = [
    '../../_base_/models/amd_vit-tiny_vit-base.py',
    '../../_base_/datasets/k400.py',
    '../../_base_/schedules/amd_200e.py',
    '../../_base_/runtime/pretrain.py',
]
# VideoMAE ViT-B, K400, 1600 epochs, in any format of tools/convert_checkpoint.py.
model = dict(teacher=dict(checkpoint='checkpoints/videomae_vit-base_k400-1600e.pth'))
