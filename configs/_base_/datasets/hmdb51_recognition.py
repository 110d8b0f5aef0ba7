# HMDB51 (split 1) for recognition, as videos arranged as in MMAction2. A clip is 16 frames, every
# 2nd.
_base_ = 'k400_recognition.py'
_num_classes = 51
_data = dict(data_root='data/hmdb51', data_prefix=dict(video='videos'), num_classes=_num_classes)

_train_pipeline = _base_.train_dataloader.dataset.pipeline
_val_pipeline = _base_.val_dataloader.dataset.pipeline
_test_pipeline = _base_.test_dataloader.dataset.pipeline
for _pipeline in (_train_pipeline, _val_pipeline, _test_pipeline):
    _pipeline[1].frame_interval = 2

train_dataloader = dict(
    batch_size=8,
    dataset=dict(ann_file='hmdb51_train_split_1_videos.txt', pipeline=_train_pipeline, **_data),
)
val_dataloader = dict(
    dataset=dict(ann_file='hmdb51_val_split_1_videos.txt', pipeline=_val_pipeline, **_data)
)
test_dataloader = dict(
    dataset=dict(ann_file='hmdb51_val_split_1_videos.txt', pipeline=_test_pipeline, **_data)
)

_blending = _base_._blending
for _augment in _blending.augments:
    _augment.num_classes = _num_classes
