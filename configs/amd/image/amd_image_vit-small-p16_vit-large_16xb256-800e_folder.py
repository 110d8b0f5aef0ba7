# AMD: ViT-S from ViT-L on any folder of images, 800 epochs.
#     --cfg-options train_dataloader.dataset.data_root=FOLDER
_base_ = 'amd_image_vit-small-p16_vit-large_16xb256-800e_in1k.py'
train_dataloader = dict(dataset=dict(data_root='data/images'))
