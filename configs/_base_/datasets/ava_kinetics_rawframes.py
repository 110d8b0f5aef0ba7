# AVA-Kinetics: training on AVA 2.2 and Kinetics-700, testing on AVA. Raw frames at 30 per second;
# frames and merged annotations arranged as in MMAction2.
_base_ = 'ava22_rawframes.py'
_anno = 'data/ava_kinetics/annotations'
_labels = f'{_anno}/ava_action_list_v2.2_for_activitynet_2019.pbtxt'
_val = dict(
    ann_file=f'{_anno}/ava_val_v2.2.csv',
    exclude_file=f'{_anno}/ava_val_excluded_timestamps_v2.2.csv',
    label_file=_labels,
)
train_dataloader = dict(
    dataset=dict(
        type='amd_mm.CheckedAVAKineticsDataset',
        ann_file=f'{_anno}/ava_train_v2.2.csv',
        exclude_file=f'{_anno}/ava_train_excluded_timestamps_v2.2.csv',
        label_file=_labels,
        data_prefix=dict(img='data/ava_kinetics/rawframes'),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='amd_mm.CheckedAVAKineticsDataset',
        proposal_file=f'{_anno}/ava_dense_proposals_val.FAIR.recall_93.9.pkl',
        data_prefix=dict(img='data/ava_kinetics/rawframes'),
        **_val,
    )
)
test_dataloader = val_dataloader
val_evaluator = _val
test_evaluator = _val
