# The features that leave the target block instead of relations, through one
# linear layer to the teacher's width. The paper's form of this loss is not in
# the public code: L1 is our choice.
_base_ = '../pretrain/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py'
model = dict(
    last_heads=None,
    teacher=dict(num_heads=None),
    head=dict(_delete_=True, type='amd_mm.FeatureTargetHead', tokens='all'),
)
