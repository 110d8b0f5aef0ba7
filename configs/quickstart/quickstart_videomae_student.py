# Quickstart: the student, pre-trained by VideoMAE. The other pre-training configs of this folder
# derive from it.
#
# Sized for two CPU cores: 8 frames of 32 x 32 are 64 tokens. The published settings learn nothing
# at this size, so masks are milder and cover space and time instead of tubes, the target is raw
# pixels, and the position table is separable and strong.
_base_ = [
    '../_base_/models/videomae_vit-small.py',
    '../_base_/datasets/folder.py',
    '../_base_/schedules/amd_200e.py',
    '../_base_/runtime/pretrain.py',
]
_clip = dict(img_size=32, patch_size=8, num_frames=8)
model = dict(
    backbone=dict(embed_dims=96, depth=4, num_heads=3, pos_embed_type='sincos_3d_strong', **_clip),
    mask_generator=dict(type='amd_mm.AsymmetricRandomMaskGenerator', student_ratio=0.55),
    decoder=dict(embed_dims=96, depth=1, num_heads=3),
    head=dict(target='pixels'),
)

# 6 videos x 4 views = 24 clips per step. Consecutive frames, because the motions are fast.
_pipeline = _base_.train_dataloader.dataset.pipeline
_pipeline[0].min_frames = 8
_pipeline[1].update(clip_len=8, frame_interval=1)
_pipeline[3].transforms[0].input_size = 32
_pipeline[3].transforms[1].scale = (32, 32)
train_dataloader = dict(
    batch_size=6,
    num_workers=2,
    pin_memory=False,
    sampler=dict(infinite=True),
    dataset=dict(data_root='work_dirs/quickstart/videos/unlabelled', pipeline=_pipeline),
)

optim_wrapper = dict(precision='fp32', optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='mmengine.LinearLR', start_factor=0.01, end=100, by_epoch=False),
    dict(type='mmengine.CosineAnnealingLR', eta_min=0.0, begin=100, by_epoch=False),
]
train_cfg = dict(_delete_=True, type='mmengine.IterBasedTrainLoop', max_iters=600)
log_processor = dict(by_epoch=False, window_size=50)
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(by_epoch=False, interval=300, max_keep_ckpts=1)
)
auto_scale_lr = dict(base_batch_size=6)
