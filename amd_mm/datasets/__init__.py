"""Datasets, samplers and collation for videos, frame folders and folders."""

from .ava import CheckedAVADataset, CheckedAVAKineticsDataset
from .ava_files import AVADataError
from .collate import flatten_views_collate, one_tensor_collate
from .folder_search import find_videos
from .image_datasets import IMAGE_EXTENSIONS, ImageDataset
from .list_files import ListEntry, ListFileError, read_list_file
from .replacing import ReplaceUnreadableMixin
from .sampling import EpochSeededSampler, SampleKey, seeded_randomness
from .subset import LabelBudget
from .video_datasets import RawFrameListDataset, VideoFolderDataset, VideoListDataset
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
    'AVADataError',
    'CheckedAVADataset',
    'CheckedAVAKineticsDataset',
    'EpochSeededSampler',
    'ImageDataset',
    'LabelBudget',
    'ListEntry',
    'ListFileError',
    'RawFrameListDataset',
    'ReplaceUnreadableMixin',
    'SampleKey',
    'UnreadableVideoError',
    'VideoFolderDataset',
    'VideoListDataset',
    'VideoReader',
    'available_backends',
    'find_videos',
    'flatten_views_collate',
    'one_tensor_collate',
    'open_video',
    'read_list_file',
    'seeded_randomness',
]
