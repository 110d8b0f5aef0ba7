# TinyMIM on the relations of Q·K alone.
_base_ = '../pretrain/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py'
model = dict(head=dict(relations=['qk']))
