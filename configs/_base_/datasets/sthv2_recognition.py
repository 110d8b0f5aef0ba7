# Something-Something v2 for recognition, as videos prepared as in MMAction2. A
# clip has one frame of each of 16 equal segments; tested on 2 clips x 3 crops.
# No flip: left and right are classes.
_base_ = 'k400_recognition.py'
num_classes = 174
view_transforms = [
    transform for transform in _base_.view_transforms if transform.type != 'mmaction.Flip'
]
_data = dict(data_root='data/sthv2', data_prefix=dict(video='videos'), num_classes=num_classes)

train_pipeline = _base_.train_dataloader.dataset.pipeline
train_pipeline[1] = dict(type='amd_mm.SparseSampleFrames', clip_len=16)
train_pipeline[-1].transforms = view_transforms
val_pipeline = _base_.val_dataloader.dataset.pipeline
val_pipeline[1] = dict(type='amd_mm.SparseSampleFrames', clip_len=16, test_mode=True)
test_pipeline = _base_.test_dataloader.dataset.pipeline
test_pipeline[1] = dict(type='amd_mm.SparseSampleFrames', clip_len=16, num_clips=2, test_mode=True)

train_dataloader = dict(
    dataset=dict(ann_file='sthv2_train_list_videos.txt', pipeline=train_pipeline, **_data)
)
val_dataloader = dict(
    dataset=dict(ann_file='sthv2_val_list_videos.txt', pipeline=val_pipeline, **_data)
)
test_dataloader = dict(
    dataset=dict(ann_file='sthv2_val_list_videos.txt', pipeline=test_pipeline, **_data)
)

blending = _base_.blending
blending.augments[0].num_classes = num_classes
blending.augments[1].num_classes = num_classes
