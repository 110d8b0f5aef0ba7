# Quickstart: the student, pre-trained by VideoMAE alone. The other configs of
# this folder derive from it.
#
# Small enough for two CPU cores: 8 frames of 32 x 32, in 64 tokens. Published
# settings learn nothing at this size (see README.md here): hence the milder
# masks (over space and time, not tubes), raw pixels as the target and the
# separable position table.
_base_ = [
    '../_base_/models/videomae_vit-small.py',
    '../_base_/datasets/folder.py',
    '../_base_/schedules/amd_800e.py',
    '../_base_/runtime/pretrain.py',
]
clip = dict(img_size=32, patch_size=8, num_frames=8, pos_embed_type='sincos_3d')
model = dict(
    backbone=dict(embed_dims=96, depth=4, num_heads=3, **clip),
    mask_generator=dict(type='amd_mm.AsymmetricRandomMaskGenerator', student_ratio=0.75),
    decoder=dict(embed_dims=64, depth=1, num_heads=2),
    head=dict(target='pixels'),
)

# 64 clips a step: 8 videos, each decoded once and cropped 8 times. Frames
# follow each other directly: the motions are fast.
num_views = 8
pipeline = _base_.train_dataloader.dataset.pipeline
pipeline[0].min_frames = 8
pipeline[1].update(clip_len=8, frame_interval=1)
pipeline[3].num_views = num_views
pipeline[3].transforms[0].input_size = 32
pipeline[3].transforms[1].scale = (32, 32)
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    pin_memory=False,
    sampler=dict(infinite=True),
    dataset=dict(data_root='work_dirs/quickstart/videos/unlabelled', pipeline=pipeline),
)

max_iters = 600
optim_wrapper = dict(precision='fp32', optimizer=dict(lr=3e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='mmengine.LinearLR', start_factor=0.01, end=100, by_epoch=False),
    dict(type='mmengine.CosineAnnealingLR', eta_min=0.0, begin=100, end=max_iters, by_epoch=False),
]
train_cfg = dict(_delete_=True, type='mmengine.IterBasedTrainLoop', max_iters=max_iters)
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(by_epoch=False, interval=300, max_keep_ckpts=1)
)
auto_scale_lr = dict(base_batch_size=8)
