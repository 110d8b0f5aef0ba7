"""The table of mistakes: what is done, and what the sentence must have."""

from collections.abc import Sequence
from typing import NamedTuple

# What is left of a path that a sentence names.
P = '{project}'


class Case(NamedTuple):
    """A mistake.

    Attributes:
        name: Of the test.
        says: What the sentence has to have in it, ``P`` for the project.
        options: After ``--cfg-options``.
        config: Of the project.
        tool: ``train`` or ``test``.
        more: Further arguments; the checkpoint for ``test``.
    """

    name: str
    says: Sequence[str]
    options: Sequence[str] = ()
    config: str = 'pretrain.py'
    tool: str = 'train'
    more: Sequence[str] = ()


DATA = 'train_dataloader.dataset'
TEACHER = 'model.teacher.checkpoint'
MASKS = 'model.mask_generator'


def teacher(name: str) -> list[str]:
    return [f'{TEACHER}={P}/{name}', 'model.teacher.random_init=False']


def listed(name: str) -> list[str]:
    return [f'{DATA}.ann_file={P}/{name}']


# One row a mistake, however long it is.
# fmt: off
CONFIG_FILES = [
    Case('config-not-there', ['there is no config file', 'gone.py'], config='gone.py'),
    Case('config-name-mistyped', ['there is no config file', 'did you mean', '200e_k400.py'], config='amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k40.py'),
    Case('config-syntax', [f'{P}/syntax.py', 'never closed', 'line '], config='syntax.py'),
    Case('config-unknown-name', [f'{P}/name.py', 'max_epochs'], config='name.py'),
    Case('config-base-missing', ['not_there.py'], config='base.py'),
    Case('config-package-base-missing', ['scope_base.py', 'not/there.py'], config='scope_base.py'),
    Case('config-no-config', ['notes.txt', 'py'], config='notes.txt'),
    Case('config-only-tests', ['no train_dataloader', 'tests_only.py'], config='tests_only.py'),
]
# What is not registered, or refused by torch, is reported in MMEngine's and torch's own words.
OPTIONS = [
    Case('option-without-value', ['key=value', 'model.depth'], ['model.depth']),
    Case('option-typo', ['model.layer_pair:', "did you mean 'layer_pairs'?"], ['model.layer_pair="[(2,3)]"']),
    Case('option-typo-below', ['model.backbone', "did you mean 'depth'?"], ['model.backbone.depht=3']),
    Case('option-typo-part', ["did you mean 'backbone'?"], ['model.backbon.depth=3']),
    Case('option-typo-top', ["did you mean 'train_dataloader'?"], ['train_dataloder.batch_size=2']),
    Case('option-typo-loader', ["did you mean 'num_workers'?"], ['train_dataloader.num_worker=2']),
    Case('option-typo-dataset', ["did you mean 'data_root'?"], [f'{DATA}.data_rot=x']),
    Case('option-optional-typo', ["did you mean 'drop_path_rate'?"], ['model.backbone.drop_path=0.1']),
    Case('option-below-value', ['train_dataloader.batch_size is 2', 'has no entries'], ['train_dataloader.batch_size.x=1']),
    Case('option-list-index', [f'{DATA}.pipeline is a list of 4'], [f'{DATA}.pipeline.9.num_views=2']),
    Case('option-variable', ['`num_views` is a variable'], ['num_views=3']),
    Case('type-mistyped', ['amd_mm.PixelDecodr is not in the ', "did you mean type='amd_mm.PixelDecoder'?"], ['model.decoder.type=amd_mm.PixelDecodr']),
    Case('type-without-scope', ['SerialAlignment is not in the ', "type='amd_mm.SerialAlignment'"], ['model.neck.type=SerialAlignment']),
    Case('type-package-missing', ['mmfoo.AMD is not in the ', "type='amd_mm.AMD'"], ['model.type=mmfoo.AMD']),
    Case('dataset-type-mistyped', ['amd_mm.VideoFolderDateset is not in the '], [f'{DATA}.type=amd_mm.VideoFolderDateset']),
    Case('hook-type-mistyped', ['amd_mm.AtomicCheckpoint is not in the '], ['default_hooks.checkpoint.type=amd_mm.AtomicCheckpoint']),
    Case('lr-negative', ['Invalid learning rate: -0.1'], ['optim_wrapper.optimizer.lr=-0.1']),
    Case('precision-unknown', ['optim_wrapper', 'fp8'], ['optim_wrapper.precision=fp8']),
]
DATASETS = [
    Case('folder-not-there', [f'{DATA}.data_root', f'{P}/gone', 'not there'], [f'{DATA}.data_root={P}/gone']),
    Case('folder-empty', [f'no videos in {P}/nothing'], [f'{DATA}.data_root={P}/nothing']),
    Case('folder-without-videos', [f'no videos in {P}/pictures', '.mp4'], [f'{DATA}.data_root={P}/pictures']),
    Case('folder-is-a-file', ['is not a folder'], [f'{DATA}.data_root={P}/list.txt']),
    Case('all-videos-unreadable', [f'{P}/unreadable/', 'check_videos.py'], [f'{DATA}.data_root={P}/unreadable']),
    Case('all-videos-unreadable-in-workers', [f'{P}/unreadable/', 'check_videos.py'], [f'{DATA}.data_root={P}/unreadable', 'train_dataloader.num_workers=1']),
    Case('backend-unknown', ['ffmpeg', 'pyav'], [f'{DATA}.pipeline.0.backend=ffmpeg']),
    Case('list-not-there', [f'{DATA}.ann_file', f'{P}/gone.txt'], listed('gone.txt'), 'recognise.py'),
    Case('list-empty', [f'{P}/empty.txt', 'no entries'], listed('empty.txt'), 'recognise.py'),
    Case('list-label-missing', [f'{P}/no_label.txt, line 4', 'no label'], listed('no_label.txt'), 'recognise.py'),
    Case('list-label-a-word', [f'{P}/word_label.txt, line 4', "'dancing' is not an integer"], listed('word_label.txt'), 'recognise.py'),
    Case('list-label-negative', [f'{P}/negative_label.txt, line 4', 'negative'], listed('negative_label.txt'), 'recognise.py'),
    Case('list-label-too-large', [f'{P}/large_label.txt, line 4', 'not below num_classes=4'], listed('large_label.txt'), 'recognise.py'),
    Case('list-of-other-classes', [f'{P}/other_classes.txt, line 1', '170', 'num_classes=4'], listed('other_classes.txt'), 'recognise.py'),
    Case('list-videos-not-there', [f'{P}/videos/lost/', 'no such file'], listed('lost.txt'), 'recognise.py'),
    Case('list-not-given', ['ann_file'], [f'{DATA}.ann_file='], 'recognise.py'),
    Case('clip-len-of-another-model', ['num_frames', '(2, 4, 4)'], [f'{DATA}.pipeline.1.clip_len=4']),
    Case('clip-len-odd', ['7 frames', 'tubelet_size'], [f'{DATA}.pipeline.1.clip_len=7']),
    Case('size-of-another-model', ['img_size'], [f'{DATA}.pipeline.3.transforms.0.scale="(32,32)"']),
    Case('batch-of-no-videos', ['batch_size'], ['train_dataloader.batch_size=0']),
    Case('fewer-videos-than-a-batch', ['batch_size', '4'], ['train_dataloader.batch_size=99']),
    Case('views-none', ['num_views'], [f'{DATA}.pipeline.3.num_views=0']),
]
MODEL = [
    Case('layer-beyond-student', ['layer_pairs', 'student block 9', 'has 4'], ['model.layer_pairs="[(9,3)]"']),
    Case('layer-beyond-teacher', ['block 9 of the teacher', '6'], ['model.layer_pairs="[(2,9)]"']),
    Case('layers-falling', ['rising', '[3, 2]'], ['model.layer_pairs="[(3,3),(2,4)]"']),
    Case('layers-no-pairs', ['layer_pairs', '(student block, teacher block)'], ['model.layer_pairs="[2,3]"']),
    Case('layer-zero', ['counted from 1'], ['model.layer_pairs="[(0,3)]"']),
    Case('teacher-ratio-above', ['teacher_ratio=0.9', 'student_ratio=0.75'], [f'{MASKS}.teacher_ratio=0.9']),
    Case('ratio-above-one', ['student_ratio=75'], [f'{MASKS}.student_ratio=75']),
    Case('ratio-negative', ['teacher_ratio=-0.5'], [f'{MASKS}.teacher_ratio=-0.5']),
    Case('ratio-leaves-nothing', ['student_ratio=0.99', 'no visible token'], [f'{MASKS}.student_ratio=0.99', f'{MASKS}.round_down=visible']),
    Case('ratios-equal', ['teacher_ratio', 'DirectAlignment'], [f'{MASKS}.teacher_ratio=0.75']),
    Case('size-no-multiple', ['img_size=70', 'patch_size=16'], ['model.backbone.img_size=70']),
    Case('frames-odd', ['num_frames=7', 'tubelet_size'], ['model.backbone.num_frames=7']),
    Case('frames-below-tubelet', ['num_frames=1', 'tubelet_size'], ['model.backbone.num_frames=1']),
    Case('sizes-differ', ['teacher and student must have the same tokens'], ['model.backbone.img_size=32']),
    Case('heads-do-not-divide', ['num_heads', '48', '5'], ['model.backbone.num_heads=5']),
    Case('channels', ['in_channels'], ['model.backbone.in_channels=1']),
    Case('channels-of-both', ['3 channels', 'in_channels=1'], ['model.backbone.in_channels=1', 'model.teacher.backbone.in_channels=1']),
    Case('weights-contradict', ['generation_weight=0', 'DirectAlignment'], ['model.generation_weight=0']),
    Case('nothing-to-learn', ['rec_weight=0'], ['model.rec_weight=0', 'model.layer_pairs="[(2,3)]"']),
    Case('dtype-unknown', ['float32', 'float17'], ['model.teacher.dtype=float17']),
]
CHECKPOINTS = [
    Case('teacher-not-given', ['the teacher needs weights'], ['model.teacher.random_init=False']),
    Case('teacher-not-there', [TEACHER, f'{P}/gone.pth'], teacher('gone.pth')),
    Case('teacher-of-another-size', [f'{P}/small.pth', 'does not fit'], teacher('small.pth')),
    Case('teacher-no-vit', [f'{P}/resnet.pth'], teacher('resnet.pth')),
    Case('teacher-a-tensor', [f'{P}/tensor.pth', 'Tensor'], teacher('tensor.pth')),
    Case('teacher-truncated', [f'{P}/truncated.pth', 'cut short'], teacher('truncated.pth')),
    Case('teacher-garbage', [f'{P}/garbage.pth is not a checkpoint'], teacher('garbage.pth')),
    Case('teacher-empty', [f'{P}/empty.pth is empty'], teacher('empty.pth')),
    Case('teacher-web-page', [f'{P}/page.pth', 'web page'], teacher('page.pth')),
    Case('teacher-lfs-pointer', [f'{P}/pointer.pth', 'git lfs pull'], teacher('pointer.pth')),
    Case('teacher-folder', [f'{P}/folder.pth is a folder'], teacher('folder.pth')),
    Case('teacher-other-archive', [f'{P}/archive.pth'], teacher('archive.pth')),
    Case('init-cfg-prefix', [f'{P}/pretrained.pth', 'encoder.'], ['model.backbone.init_cfg.type=Pretrained', f'model.backbone.init_cfg.checkpoint={P}/pretrained.pth', 'model.backbone.init_cfg.prefix=encoder.'], 'recognise.py'),
    Case('load-from-web-page', [f'{P}/page.pth', 'web page'], [f'load_from={P}/page.pth']),
    Case('load-from-truncated', [f'{P}/truncated.pth', 'cut short'], [f'load_from={P}/truncated.pth']),
    Case('resume-not-there', ['--resume', 'no checkpoint'], more=['--resume', f'{P}/gone.pth']),
    Case('resume-of-weights', [f'{P}/student.pth', 'without --resume'], more=['--resume', f'{P}/student.pth']),
    Case('resume-of-another-model', [f'{P}/pretrained.pth', 'does not fit'], more=['--resume', f'{P}/pretrained.pth']),
    Case('test-not-there', ['there is no checkpoint', 'gone.pth'], (), 'recognise.py', 'test', [f'{P}/gone.pth']),
    Case('test-of-pretraining', [f'{P}/pretrained.pth', 'does not fit'], (), 'recognise.py', 'test', [f'{P}/pretrained.pth']),
    Case('test-web-page', ['web page'], (), 'recognise.py', 'test', [f'{P}/page.pth']),
    Case('test-config-trains', ['no test_dataloader', 'only trains'], (), 'pretrain.py', 'test', [f'{P}/pretrained.pth']),
    Case('test-option-typo', ["did you mean 'test_dataloader'?"], ['test_dataloder.batch_size=1'], 'recognise.py', 'test', [f'{P}/pretrained.pth']),
]
PLACES = [
    Case('work-dir-not-writable', ['/proc/nothing', '--work-dir'], more=['--work-dir', '/proc/nothing']),
    Case('work-dir-read-only', ['cannot write into the work folder /proc:', '--work-dir'], more=['--work-dir', '/proc']),
    Case('work-dir-is-a-file', [f'{P}/list.txt', '--work-dir'], more=['--work-dir', f'{P}/list.txt']),
    Case('launcher-by-hand', ['--launcher pytorch', 'dist_train.sh'], more=['--launcher', 'pytorch']),
    Case('slurm-by-hand', ['--launcher slurm', 'slurm_train.sh'], more=['--launcher', 'slurm']),
]
# fmt: on
CASES = CONFIG_FILES + OPTIONS + DATASETS + MODEL + CHECKPOINTS + PLACES
