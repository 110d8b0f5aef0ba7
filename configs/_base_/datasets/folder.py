# A folder of videos, searched recursively, without lists or labels. Clips as from Kinetics-400: 16
# frames, every 4th (2 seconds at 30 frames per second).
#     --cfg-options train_dataloader.dataset.data_root=/my/videos
_base_ = 'k400.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='amd_mm.VideoFolderDataset',
        data_root='data/videos',
        pipeline=_base_.train_dataloader.dataset.pipeline,
    )
)
