# TinyMIM: a ViT-B learns from block 18 of MAE's ViT-L. Both read their target block with 16 heads.
model = dict(
    type='amd_mm.TinyMIM',
    data_preprocessor=dict(
        type='mmpretrain.SelfSupDataPreprocessor',
        non_blocking=True,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type='amd_mm.ImageVisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        # Drop path is constant, and 0 in the target block.
        layer_cfgs=[dict(drop_path_rate=0.1)] * 11 + [dict(drop_path_rate=0.0)],
    ),
    last_heads=16,
    teacher=dict(
        type='amd_mm.RelationTeacher',
        dtype='bfloat16',  # half the memory; autocast computes in it anyway
        backbone=dict(
            type='amd_mm.ImageVisionTransformer', arch='large', img_size=224, patch_size=16
        ),
        block=18,  # counted from 1
        num_heads=16,
    ),
    head=dict(type='amd_mm.TokenRelationHead'),  # relations=['qk', 'vv']
)
