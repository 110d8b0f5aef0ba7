# AMD: ViT-L from ViT-H on Kinetics-400 with FSDP. Not in the paper and not trained by us: ratios,
# losses and schedule are those of ViT-B from ViT-L, the decoder is VideoMAE's for ViT-L.
#
# 64 GPUs x 8 videos x 4 views = 2048 clips per step at lr 2.4e-3.
_base_ = [
    '../_base_/models/amd_vit-small_vit-large.py',
    '../_base_/datasets/k400.py',
    '../_base_/schedules/amd_200e.py',
    '../_base_/runtime/fsdp.py',
]
model = dict(
    backbone=dict(embed_dims=1024, depth=24, num_heads=16),
    decoder=dict(embed_dims=512, depth=12, num_heads=8),
    teacher=dict(
        backbone=dict(embed_dims=1280, depth=32, num_heads=16),
        # VideoMAE ViT-H, K400, in any format of tools/convert_checkpoint.py.
        checkpoint='checkpoints/videomae_vit-huge_k400-1600e.pth',
    ),
    layer_pairs=[(12, 16), (24, 32)],
)
train_dataloader = dict(batch_size=8)
