# TinyMIM from the middle of the teacher.
_base_ = '../pretrain/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py'
model = dict(teacher=dict(block=12))
