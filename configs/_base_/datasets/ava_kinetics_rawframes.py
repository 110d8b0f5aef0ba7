# AVA-Kinetics: AVA 2.2 and Kinetics-700 together in training, AVA in testing.
# Raw frames at 30 a second, prepared (and the annotations merged) as in
# MMAction2.
_base_ = 'ava22_rawframes.py'
_anno = 'data/ava_kinetics/annotations'
label_file = f'{_anno}/ava_action_list_v2.2_for_activitynet_2019.pbtxt'
ann_file_val = f'{_anno}/ava_val_v2.2.csv'
exclude_file_val = f'{_anno}/ava_val_excluded_timestamps_v2.2.csv'
proposal_file_val = f'{_anno}/ava_dense_proposals_val.FAIR.recall_93.9.pkl'

_data = dict(
    type='amd_mm.CheckedAVAKineticsDataset',
    label_file=label_file,
    data_prefix=dict(img='data/ava_kinetics/rawframes'),
)
train_dataloader = dict(
    dataset=dict(
        ann_file=f'{_anno}/ava_train_v2.2.csv',
        exclude_file=f'{_anno}/ava_train_excluded_timestamps_v2.2.csv',
        **_data,
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file=ann_file_val,
        exclude_file=exclude_file_val,
        proposal_file=proposal_file_val,
        **_data,
    )
)
test_dataloader = val_dataloader

_files = dict(ann_file=ann_file_val, exclude_file=exclude_file_val, label_file=label_file)
val_evaluator = _files
test_evaluator = _files
