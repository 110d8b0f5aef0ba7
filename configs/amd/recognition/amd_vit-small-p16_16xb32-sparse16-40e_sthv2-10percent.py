# The same with a tenth of the labels: the same tenth of each class in every
# run; another with subset_seed, so many of each class with clips_per_class.
_base_ = 'amd_vit-small-p16_16xb32-sparse16-40e_sthv2.py'
train_dataloader = dict(dataset=dict(label_fraction=0.1))
