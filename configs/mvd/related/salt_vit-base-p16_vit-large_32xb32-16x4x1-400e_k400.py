# After SALT (Rethinking JEPA, arXiv 2509.24317): the frozen VideoMAE teacher sees the whole clip,
# and the student predicts its features at masked tokens. From the paper: a teacher that was trained
# on pixels and stays frozen, and a student that predicts features alone. Not from the paper: masks
# (tubes instead of V-JEPA's blocks), L1 of normalised features, predictor (MVD's decoder), sizes
# and schedule (MVD's).
_base_ = '../pretrain/mvd_vit-base-p16_vit-large_32xb32-16x4x1-400e_k400.py'
_video = _base_.model.teacher.video
_video.checkpoint = 'checkpoints/videomae_vit-large_k400-1600e.pth'
model = dict(
    teacher=dict(_delete_=True, layer_norm=True, **_video),
    neck=dict(loss=dict(type='amd_mm.FeatureAlignmentLoss', distance='l1')),
)
