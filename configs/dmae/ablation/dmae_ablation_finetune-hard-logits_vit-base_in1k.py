# What DMAE compares with: the same with the teacher's most likely class.
_base_ = 'dmae_ablation_finetune-soft-logits_vit-base_in1k.py'
model = dict(kind='hard')
