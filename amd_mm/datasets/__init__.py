"""Datasets, samplers and collation for videos, frame folders and images."""

from .ava import CheckedAVADataset, CheckedAVAKineticsDataset
from .collate import flatten_views_collate, stack_images_collate, stack_views_collate
from .files import IMAGE_EXTENSIONS
from .image_dataset import ImageDataset
from .list_files import ListEntry, read_list_file
from .replace_unreadable import ReplaceUnreadableMixin
from .samplers import EpochSeededSampler, SampleKey, WeightedSampler, seeded_randomness
from .segments import cut_into_segments
from .subset import class_balanced_subset
from .video_dataset import RawFrameListDataset, VideoFolderDataset, VideoListDataset, find_videos
from .video_reader import (
    BACKENDS,
    VIDEO_EXTENSIONS,
    UnreadableVideoError,
    VideoReader,
    available_backends,
    open_video,
)

__all__ = [
    'BACKENDS',
    'IMAGE_EXTENSIONS',
    'VIDEO_EXTENSIONS',
    'CheckedAVADataset',
    'CheckedAVAKineticsDataset',
    'EpochSeededSampler',
    'ImageDataset',
    'ListEntry',
    'RawFrameListDataset',
    'ReplaceUnreadableMixin',
    'SampleKey',
    'UnreadableVideoError',
    'VideoFolderDataset',
    'VideoListDataset',
    'VideoReader',
    'WeightedSampler',
    'available_backends',
    'class_balanced_subset',
    'cut_into_segments',
    'find_videos',
    'flatten_views_collate',
    'open_video',
    'read_list_file',
    'seeded_randomness',
    'stack_images_collate',
    'stack_views_collate',
]
