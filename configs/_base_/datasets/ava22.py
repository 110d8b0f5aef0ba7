# AVA 2.2 as videos, arranged as in MMAction2 (videos_15min: minutes 15 to 30). A clip is 16 frames,
# every 4th at 30 per second, around a timestamp: whole frames, short side 256, flip. Training uses
# the annotated boxes; testing uses detected boxes with a confidence of at least 0.8.
_anno = 'data/ava/annotations'
_labels = f'{_anno}/ava_action_list_v2.2_for_activitynet_2019.pbtxt'
_val = dict(
    ann_file=f'{_anno}/ava_val_v2.2.csv',
    exclude_file=f'{_anno}/ava_val_excluded_timestamps_v2.2.csv',
    label_file=_labels,
    num_classes=81,
)
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
        label_file=_labels,
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
# One clip at a time: frames differ in size, and padding changes the scores slightly. Clips of the
# same size may be batched.
val_dataloader = dict(
    batch_size=1,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        type='amd_mm.CheckedAVADataset',
        # The published results use the boxes of AIA; tools/data/ava converts them.
        proposal_file=f'{_anno}/ava_dense_proposals_val.FAIR.recall_93.9.pkl',
        person_det_score_thr=0.8,
        data_prefix=dict(video='data/ava/videos_15min'),
        test_mode=True,
        pipeline=[
            dict(type='amd_mm.VideoInit', backend='pyav'),
            dict(type='amd_mm.SampleAVAClip', clip_len=16, frame_interval=4, test_mode=True),
            dict(type='amd_mm.VideoDecode'),
            dict(type='mmaction.Resize', scale=(-1, 256)),
            dict(type='mmaction.FormatShape', input_format='NCTHW', collapse=True),
            dict(type='mmaction.PackActionInputs'),
        ],
        **_val,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='amd_mm.PerClassAVAMetric', **_val)
test_evaluator = dict(type='amd_mm.PerClassAVAMetric', classwise=True, **_val)
