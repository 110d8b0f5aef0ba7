# UCF101 (split 1) for recognition, as videos arranged as in MMAction2. A clip is 16 frames, every
# 4th.
_base_ = 'k400_recognition.py'
_num_classes = 101
_data = dict(data_root='data/ucf101', data_prefix=dict(video='videos'), num_classes=_num_classes)
train_dataloader = dict(dataset=dict(ann_file='ucf101_train_split_1_videos.txt', **_data))
val_dataloader = dict(dataset=dict(ann_file='ucf101_val_split_1_videos.txt', **_data))
test_dataloader = dict(dataset=dict(ann_file='ucf101_val_split_1_videos.txt', **_data))

_blending = _base_._blending
for _augment in _blending.augments:
    _augment.num_classes = _num_classes
