# TinyMIM without the student's drop path.
_base_ = '../pretrain/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py'
model = dict(backbone=dict(layer_cfgs=[dict(drop_path_rate=0.0)] * 12))
