# AVA 2.2 as videos, prepared as in MMAction2 (videos_15min: minutes 15 to 30).
# 16 frames, every 4th at 30 a second, around a timestamp; short side 256,
# whole frames, flip. Trained on annotated boxes; tested on boxes that a
# detector found with a confidence of at least 0.8.
_anno = 'data/ava/annotations'
label_file = f'{_anno}/ava_action_list_v2.2_for_activitynet_2019.pbtxt'
ann_file_val = f'{_anno}/ava_val_v2.2.csv'
exclude_file_val = f'{_anno}/ava_val_excluded_timestamps_v2.2.csv'
# The published figures use the boxes of AIA; tools/data/ava converts them.
proposal_file_val = f'{_anno}/ava_dense_proposals_val.FAIR.recall_93.9.pkl'

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='amd_mm.EpochSeededSampler', shuffle=True),
    collate_fn=dict(type='mmengine.pseudo_collate'),
    dataset=dict(
        type='amd_mm.CheckedAVADataset',
        ann_file=f'{_anno}/ava_train_v2.2.csv',
        exclude_file=f'{_anno}/ava_train_excluded_timestamps_v2.2.csv',
        label_file=label_file,
        data_prefix=dict(video='data/ava/videos_15min'),
        num_classes=81,
        pipeline=[
            dict(type='amd_mm.GroundTruthProposals'),
            dict(type='amd_mm.VideoInit', backend='pyav'),
            dict(type='amd_mm.SampleAVAClip', clip_len=16, frame_interval=4),
            dict(type='amd_mm.VideoDecode'),
            dict(type='mmaction.Resize', scale=(-1, 256)),
            dict(type='mmaction.Flip', flip_ratio=0.5),
            dict(type='mmaction.FormatShape', input_format='NCTHW', collapse=True),
            dict(type='mmaction.PackActionInputs'),
        ],
    ),
)
# One clip at a time: frames differ in size, and padding changes the scores a
# little. Clips of one size may be batched.
val_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        type='amd_mm.CheckedAVADataset',
        ann_file=ann_file_val,
        exclude_file=exclude_file_val,
        label_file=label_file,
        proposal_file=proposal_file_val,
        person_det_score_thr=0.8,
        data_prefix=dict(video='data/ava/videos_15min'),
        num_classes=81,
        test_mode=True,
        pipeline=[
            dict(type='amd_mm.VideoInit', backend='pyav'),
            dict(type='amd_mm.SampleAVAClip', clip_len=16, frame_interval=4, test_mode=True),
            dict(type='amd_mm.VideoDecode'),
            dict(type='mmaction.Resize', scale=(-1, 256)),
            dict(type='mmaction.FormatShape', input_format='NCTHW', collapse=True),
            dict(type='mmaction.PackActionInputs'),
        ],
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='amd_mm.PerClassAVAMetric',
    ann_file=ann_file_val,
    exclude_file=exclude_file_val,
    label_file=label_file,
    num_classes=81,
)
test_evaluator = dict(
    type='amd_mm.PerClassAVAMetric',
    ann_file=ann_file_val,
    exclude_file=exclude_file_val,
    label_file=label_file,
    num_classes=81,
    classwise=True,
)
