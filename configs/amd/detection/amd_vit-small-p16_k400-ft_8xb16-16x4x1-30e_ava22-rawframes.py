# AMD's ViT-S, fine-tuned on Kinetics-400, detects actions: AVA 2.2
# (raw frames).
#
# 8 GPUs x 16 clips = 128 clips a step at lr 2.5e-4.
_base_ = [
    '../../_base_/models/detector_vit-small_k400-ft.py',
    '../../_base_/datasets/ava22_rawframes.py',
    '../../_base_/schedules/ava_30e.py',
    '../../_base_/runtime/detection.py',
]
