# UCF101 for recognition (split 1), as videos prepared as in MMAction2; 16
# frames, every 4th; 256 clips a step on 8 GPUs.
_base_ = 'k400_recognition.py'
num_classes = 101
_data = dict(data_root='data/ucf101', data_prefix=dict(video='videos'), num_classes=num_classes)
train_dataloader = dict(dataset=dict(ann_file='ucf101_train_split_1_videos.txt', **_data))
val_dataloader = dict(dataset=dict(ann_file='ucf101_val_split_1_videos.txt', **_data))
test_dataloader = dict(dataset=dict(ann_file='ucf101_val_split_1_videos.txt', **_data))

blending = _base_.blending
blending.augments[0].num_classes = num_classes
blending.augments[1].num_classes = num_classes
