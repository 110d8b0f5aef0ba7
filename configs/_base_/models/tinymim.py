# What the TinyMIM models have in common; arch, last_heads and the teacher's
# block and num_heads come with the sizes.
#
# Options, as arguments (configs/tinymim/ablation has one of each):
#     model.head.relations='[qk,vv]'      also qq, kk
#     model.head={type: amd_mm.FeatureTargetHead, tokens: all | class}
#     model.block, model.teacher.block    target blocks, counted from 1
#     model.mask_generator                masked input
#     model.backbone.layer_cfgs, model.teacher.backbone.drop_path_rate
encoder = dict(type='amd_mm.ImageVisionTransformer', img_size=224, patch_size=16)
model = dict(
    type='amd_mm.TinyMIM',
    data_preprocessor=dict(
        type='mmpretrain.SelfSupDataPreprocessor',
        non_blocking=True,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    # Drop path is constant, not rising, and off in the target block.
    backbone=dict(
        layer_cfgs=[dict(drop_path_rate=0.1)] * 11 + [dict(drop_path_rate=0.0)], **encoder
    ),
    # bfloat16: what autocast makes of the weights anyway, at half the memory.
    teacher=dict(type='amd_mm.RelationTeacher', dtype='bfloat16', backbone=encoder),
    head=dict(type='amd_mm.TokenRelationHead', relations=['qk', 'vv']),
)
