# MAE: ViT-B on any folder of images, 1600 epochs: a teacher of one's own.
_base_ = 'mae_vit-base-p16_16xb256-1600e_in1k.py'
train_dataloader = dict(dataset=dict(data_root='data/images'))
