# AMD: ViT-L from ViT-H on Kinetics-400, 800 epochs, under FSDP.
#
# Not in the paper, and not trained by us: ratios, losses and schedule are
# those of ViT-B from ViT-L, decoder and width are VideoMAE's for ViT-L.
# 64 GPUs x 32 clips (8 videos x 4 samples) = 2048 clips a step; for another
# batch, --auto-scale-lr or optim_wrapper.accumulative_counts.
_base_ = [
    '../_base_/models/videomae_vit-large.py',
    '../_base_/models/distillation.py',
    '../_base_/datasets/k400.py',
    '../_base_/schedules/amd_800e.py',
    '../_base_/runtime/fsdp.py',
]
# VideoMAE ViT-H, K400; any format of tools/convert_checkpoint.py.
teacher_checkpoint = 'checkpoints/videomae_vit-huge_k400-1600e.pth'
_teacher = _base_.vit_large_teacher
model = dict(
    type='amd_mm.AMD',
    mask_generator=dict(student_ratio=0.9, teacher_ratio=0.75),
    teacher=dict(
        _teacher,
        checkpoint=teacher_checkpoint,
        backbone=dict(_teacher.backbone, embed_dims=1280, depth=32),
    ),
    neck=_base_.serial_alignment,
    layer_pairs=[(12, 16), (24, 32)],
)
train_dataloader = dict(batch_size=32 // _base_.num_views)
