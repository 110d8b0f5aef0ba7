# AMD on images, fine-tuning with 1 % of the labels, balanced over the
# classes and the same in every run: every pass is short, so MAE's 100 epochs
# are far fewer steps. No recipe is public.
_base_ = 'amd_image_vit-base-p16_vit-large_finetune_8xb128-100e_in1k.py'
train_dataloader = dict(dataset=dict(label_fraction=0.01))
