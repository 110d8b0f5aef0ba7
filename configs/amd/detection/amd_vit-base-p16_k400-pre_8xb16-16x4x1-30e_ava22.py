# AMD's ViT-B, pre-trained on Kinetics-400, detects actions: AVA 2.2.
#
# 8 GPUs x 16 clips = 128 clips a step at lr 2.5e-4.
_base_ = [
    '../../_base_/models/detector_vit-base_k400-pre.py',
    '../../_base_/datasets/ava22.py',
    '../../_base_/schedules/ava_30e.py',
    '../../_base_/runtime/detection.py',
]
