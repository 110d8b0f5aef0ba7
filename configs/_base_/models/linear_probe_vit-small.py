# A linear probe: the backbone is frozen, its normed tokens are averaged, batch
# norm without parameters, linear classifier.
_base_ = 'recognizer_vit-small.py'
model = dict(
    type='amd_mm.FrozenBackboneRecognizer',
    # Normed tokens, as pre-training leaves them; fc_norm would be a fresh one.
    backbone=dict(use_mean_pooling=False, return_feat_map=True, drop_path_rate=0.0),
    cls_head=dict(
        _delete_=True, type='amd_mm.LinearProbeHead', in_channels=384, average_clips='prob'
    ),
)
