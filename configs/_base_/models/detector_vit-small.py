# Action detection in given boxes with mmdet's Fast R-CNN, as MMAction2's VideoMAE detector but
# without its dropout (Table S3). The token map is averaged over time; RoIAlign pools 8 x 8 cells
# of each box, of which the maximum is classified into 80 actions and the background.
model = dict(
    type='mmdet.FastRCNN',
    data_preprocessor=dict(
        type='amd_mm.PaddedClipPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        size_divisor=16,
    ),
    # img_size is that of pre-training: the position table is resampled to the clip.
    backbone=dict(
        type='amd_mm.FeatureMapVisionTransformer',
        img_size=224,
        num_frames=16,
        embed_dims=384,
        depth=12,
        num_heads=6,
        drop_path_rate=0.2,
    ),
    roi_head=dict(
        type='amd_mm.BatchedAVARoIHead',
        bbox_roi_extractor=dict(
            type='mmdet.SingleRoIExtractor3D',
            roi_layer_type='RoIAlign',
            featmap_stride=16,
            output_size=8,
            with_temporal_pool=True,
        ),
        bbox_head=dict(
            type='mmdet.BBoxHeadAVA',
            background_class=True,
            in_channels=384,
            num_classes=81,
            multilabel=True,
            dropout_ratio=0,
        ),
    ),
    # The annotated boxes already are the proposals of training, so none are added. `num` exceeds
    # the number of boxes in any frame of AVA.
    train_cfg=dict(
        rcnn=dict(
            assigner=dict(
                type='mmdet.MaxIoUAssignerAVA',
                pos_iou_thr=0.9,
                neg_iou_thr=0.9,
                min_pos_iou=0.9,
                iou_calculator=dict(type='mmdet.BboxOverlaps2D'),
            ),
            sampler=dict(
                type='mmdet.RandomSampler',
                num=128,
                pos_fraction=1,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            pos_weight=1.0,
        )
    ),
    test_cfg=dict(rcnn=None),
)
