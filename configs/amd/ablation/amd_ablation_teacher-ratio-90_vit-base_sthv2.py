# Teacher masking ratio 0.90, symmetric: the teacher sees no more than the
# student, so there is nothing to generate and alignment is direct alone (with
# the MLP of the direct neck: our choice, the paper does not say).
_base_ = '../pretrain/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2.py'
model = dict(
    mask_generator=dict(teacher_ratio=0.9),
    neck=dict(_delete_=True, type='amd_mm.DirectAlignment', loss=_base_.serial_alignment.loss),
)
