# Something-Something V2 for recognition, as videos arranged as in MMAction2. A clip has one frame
# from each of 16 equal segments. Testing averages 2 clips x 3 crops. No flip: left and right are
# classes.
_base_ = 'k400_recognition.py'
_num_classes = 174
_data = dict(data_root='data/sthv2', data_prefix=dict(video='videos'), num_classes=_num_classes)
_sampling = dict(type='amd_mm.SparseSampleFrames', clip_len=16)

_train_pipeline = _base_.train_dataloader.dataset.pipeline
_train_pipeline[1] = _sampling
del _train_pipeline[3].transforms[3]  # the flip
_val_pipeline = _base_.val_dataloader.dataset.pipeline
_val_pipeline[1] = dict(test_mode=True, **_sampling)
_test_pipeline = _base_.test_dataloader.dataset.pipeline
_test_pipeline[1] = dict(num_clips=2, test_mode=True, **_sampling)

train_dataloader = dict(
    dataset=dict(ann_file='sthv2_train_list_videos.txt', pipeline=_train_pipeline, **_data)
)
val_dataloader = dict(
    dataset=dict(ann_file='sthv2_val_list_videos.txt', pipeline=_val_pipeline, **_data)
)
test_dataloader = dict(
    dataset=dict(ann_file='sthv2_val_list_videos.txt', pipeline=_test_pipeline, **_data)
)

_blending = _base_._blending
for _augment in _blending.augments:
    _augment.num_classes = _num_classes
