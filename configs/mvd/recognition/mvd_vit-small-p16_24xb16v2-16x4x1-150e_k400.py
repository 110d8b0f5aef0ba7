# MVD's ViT-S, fine-tuned on Kinetics-400. The position table is MVD's: a fine-tuned file of MVD has
# no table, and with VideoMAE's it computes something else.
#
# 24 GPUs x 16 videos x 2 views = 768 clips per step at lr 7.5e-4.
_base_ = '../../amd/recognition/amd_vit-small-p16_16xb16v2-16x4x1-150e_k400.py'
# Written by this config of configs/mvd/pretrain. Any checkpoint of MVD with a ViT-S will do.
_pretrained = 'work_dirs/mvd_vit-small-p16_vit-large_32xb32-16x4x1-400e_k400/epoch_400.pth'
model = dict(backbone=dict(pretrained=_pretrained, pos_embed_type='sincos_3d_mvd'))
optim_wrapper = dict(optimizer=dict(lr=7.5e-4))
auto_scale_lr = dict(base_batch_size=384)
