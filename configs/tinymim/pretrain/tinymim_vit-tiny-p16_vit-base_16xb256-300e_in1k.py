# TinyMIM: ViT-T from ViT-B on ImageNet-1K, 300 epochs. The teacher is
# read with 12 heads, as released.
#
# 16 GPUs x 256 images = 4096 a step at lr 2.4e-3. On 8 GPUs add
# optim_wrapper.accumulative_counts=2; for another batch, --auto-scale-lr.
_base_ = [
    '../../_base_/models/tinymim_vit-tiny_vit-base.py',
    '../../_base_/datasets/in1k_tinymim.py',
    '../../_base_/schedules/tinymim_300e.py',
    '../../_base_/runtime/pretrain.py',
]
# The ViT-B that learnt from MAE ViT-L.
teacher_checkpoint = 'work_dirs/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k/epoch_300.pth'
model = dict(teacher=dict(checkpoint=teacher_checkpoint))
