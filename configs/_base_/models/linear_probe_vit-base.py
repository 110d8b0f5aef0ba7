# A linear probe of a ViT-B: frozen backbone, mean of its normalised tokens, batch norm without
# weights, linear layer.
_base_ = 'recognizer_vit-base.py'
model = dict(
    type='amd_mm.FrozenBackboneRecognizer',
    # Pre-training trains this final norm; fc_norm, its replacement in a recogniser, is untrained.
    backbone=dict(use_mean_pooling=False, return_feat_map=True, drop_path_rate=0.0),
    cls_head=dict(
        _delete_=True, type='amd_mm.LinearProbeHead', in_channels=768, average_clips='prob'
    ),
)
