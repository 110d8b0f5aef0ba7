# HMDB51 for recognition (split 1), as videos prepared as in MMAction2; 16
# frames, every 2nd; 128 clips a step on 8 GPUs.
_base_ = 'k400_recognition.py'
num_classes = 51
clips_per_gpu = 16
_data = dict(data_root='data/hmdb51', data_prefix=dict(video='videos'), num_classes=num_classes)

train_pipeline = _base_.train_dataloader.dataset.pipeline
train_pipeline[1].frame_interval = 2
val_pipeline = _base_.val_dataloader.dataset.pipeline
val_pipeline[1].frame_interval = 2
test_pipeline = _base_.test_dataloader.dataset.pipeline
test_pipeline[1].frame_interval = 2

train_dataloader = dict(
    batch_size=clips_per_gpu // _base_.num_views,
    dataset=dict(ann_file='hmdb51_train_split_1_videos.txt', pipeline=train_pipeline, **_data),
)
val_dataloader = dict(
    dataset=dict(ann_file='hmdb51_val_split_1_videos.txt', pipeline=val_pipeline, **_data)
)
test_dataloader = dict(
    dataset=dict(ann_file='hmdb51_val_split_1_videos.txt', pipeline=test_pipeline, **_data)
)

blending = _base_.blending
blending.augments[0].num_classes = num_classes
blending.augments[1].num_classes = num_classes
