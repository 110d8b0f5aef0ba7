# TinyMIM as in the paper: student and teacher see the same view, without the
# released code's colour jitter for the student.
_base_ = '../pretrain/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py'
train_dataloader = dict(dataset=dict(pipeline=_base_.one_view))
