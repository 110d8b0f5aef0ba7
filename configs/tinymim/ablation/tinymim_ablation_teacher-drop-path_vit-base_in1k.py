# TinyMIM with drop path in the teacher as well, rising to 0.1.
_base_ = '../pretrain/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py'
model = dict(teacher=dict(backbone=dict(drop_path_rate=0.1)))
