# TinyMIM: ViT-B from ViT-L on ImageNet-1K, 300 epochs.
#
# 16 GPUs x 256 images = 4096 a step at lr 2.4e-3. On 8 GPUs add
# optim_wrapper.accumulative_counts=2; for another batch, --auto-scale-lr.
_base_ = [
    '../../_base_/models/tinymim_vit-base_vit-large.py',
    '../../_base_/datasets/in1k_tinymim.py',
    '../../_base_/schedules/tinymim_300e.py',
    '../../_base_/runtime/pretrain.py',
]
# MAE ViT-L, encoder only: mae_pretrain_vit_large.pth of its authors.
teacher_checkpoint = 'checkpoints/mae_pretrain_vit_large.pth'
model = dict(teacher=dict(checkpoint=teacher_checkpoint))
