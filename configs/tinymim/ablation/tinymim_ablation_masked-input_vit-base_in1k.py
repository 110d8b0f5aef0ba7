# TinyMIM on masked images: both see the same quarter of the patches.
_base_ = '../pretrain/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py'
model = dict(mask_generator=dict(type='amd_mm.AsymmetricRandomMaskGenerator', student_ratio=0.75))
