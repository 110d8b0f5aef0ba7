# AMD: ViT-S from V-JEPA 2 ViT-L at 256 px on Kinetics-400. The paper does not have this teacher:
# teacher, size of frames and layer_norm are our choice, the rest is AMD's recipe. Nobody has
# trained it.
#
# 32 GPUs x 16 videos x 4 views = 2048 clips per step at lr 2.4e-3. On 8 GPUs, add
# optim_wrapper.accumulative_counts=4.
_base_ = '../amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400.py'
_pipeline = _base_.train_dataloader.dataset.pipeline
_pipeline[3].transforms[0].input_size = 256
_pipeline[3].transforms[1].scale = (256, 256)
train_dataloader = dict(dataset=dict(pipeline=_pipeline))
model = dict(
    backbone=dict(img_size=256),
    teacher=dict(
        # Meta's vitl.pt, or the folder or file of facebook/vjepa2-vitl-fpc64-256.
        checkpoint='checkpoints/vjepa2_vitl.pt',
        # V-JEPA 2 normalises its own targets like this; its channels differ much in size.
        layer_norm=True,
        backbone=dict(img_size=256, pos_embed_type='rope_3d'),
    ),
)
