# Images without labels for TinyMIM: ImageNet-1K, or any folder.
#     --cfg-options train_dataloader.dataset.data_root=FOLDER
#
# Two views of one crop. The released code jitters the colours of the student's
# view; the paper does not mention it. One view for both, as in the paper:
#     configs/tinymim/ablation/tinymim_ablation_no-jitter_vit-base_in1k.py
_base_ = 'imagenet_pretrain.py'
student_jitter = dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4)
views = dict(
    type='mmpretrain.MultiView', num_views=[1, 1], transforms=[[student_jitter], []]
)  # the student's, the teacher's
one_view = _base_.train_pipeline
two_views = [*one_view[:-1], views, one_view[-1]]
train_dataloader = dict(dataset=dict(pipeline=two_views))
