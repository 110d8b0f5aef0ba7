# Something-Something V2 with one view of each decoded video: a step has batch_size clips per GPU.
_base_ = 'sthv2.py'
_pipeline = _base_.train_dataloader.dataset.pipeline
_pipeline[3].num_views = 1
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=_pipeline))
