# AMD's alignment necks: direct alone.
_base_ = '../pretrain/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2.py'
model = dict(
    neck=dict(_delete_=True, type='amd_mm.DirectAlignment', loss=_base_.serial_alignment.loss)
)
