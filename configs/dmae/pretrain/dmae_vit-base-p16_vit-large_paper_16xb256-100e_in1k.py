# DMAE: ViT-B from ViT-L on ImageNet-1K, 100 epochs, preset `paper`
# (_base_/models/dmae_paper.py).
#
# 16 GPUs x 256 images = 4096 a step at lr 2.4e-3. On 8 GPUs add
# optim_wrapper.accumulative_counts=2; for another batch, --auto-scale-lr.
_base_ = [
    '../../_base_/models/mae_vit-base.py',
    '../../_base_/models/dmae_paper.py',
    '../../_base_/datasets/imagenet_pretrain.py',
    '../../_base_/schedules/dmae_100e.py',
    '../../_base_/runtime/pretrain.py',
]
# MAE ViT-L, encoder only, of its authors; any format of
# tools/convert_checkpoint.py.
teacher_checkpoint = 'checkpoints/mae_pretrain_vit_large.pth'
model = dict(
    type='amd_mm.AMD',
    teacher=dict(checkpoint=teacher_checkpoint, **_base_.image_vit_large_teacher),
    neck=_base_.dmae_neck,
    head=_base_.dmae_head,
    layer_pairs=[(9, 18)],
)
