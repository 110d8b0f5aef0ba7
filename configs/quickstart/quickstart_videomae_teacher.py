# Quickstart: the shipped teacher, larger than the student and pre-trained for much longer, on other
# videos.
_base_ = 'quickstart_videomae_student.py'
model = dict(
    backbone=dict(embed_dims=144, depth=5, pos_embed_type='sincos_3d'),
    mask_generator=dict(student_ratio=0.75),
    decoder=dict(embed_dims=128, depth=2, num_heads=4),
)
train_dataloader = dict(
    batch_size=8, dataset=dict(data_root='work_dirs/quickstart/teacher-videos/unlabelled')
)
train_cfg = dict(max_iters=4000)
auto_scale_lr = dict(base_batch_size=8)
