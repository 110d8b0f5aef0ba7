"""Numbers of classes, labels and names of classes that disagree."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from amd_mm.datasets import VideoListDataset
from amd_mm.engine.agreement import (
    TESTED,
    check_checkpoint,
    check_data,
    check_metrics,
    check_numbers,
    check_same_classes,
)
from amd_mm.errors import ConfigError
from mmengine.config import Config

from tests.test_configs.shrink import CONFIGS
from tests.test_tools.tool_scripts import load_tool

RECOGNITION = 'amd/recognition/amd_vit-small-p16_16xb16v2-16x4x1-150e_k400.py'
IMAGES = 'quickstart_image/quickstart_image_finetune.py'
DETECTION = 'amd/detection/amd_vit-small-p16_8xb16-16x4x1-30e_ava22.py'


@pytest.mark.parametrize(
    'config, key, other',
    [
        (RECOGNITION, 'model.cls_head', 'model.data_preprocessor.blending.augments.0'),
        (IMAGES, 'model.head', 'model.data_preprocessor'),
        (DETECTION, 'model.roi_head.bbox_head', 'train_dataloader.dataset'),
    ],
)
def test_the_remedy_of_a_message_makes_the_numbers_agree(config, key, other):
    cfg = Config.fromfile(CONFIGS / config)
    check_numbers(cfg)
    cfg.merge_from_dict({f'{key}.num_classes': 8})
    with pytest.raises(ConfigError, match=f'{key}.num_classes is 8, but {other}.num_cl') as error:
        check_numbers(cfg)
    for one in re.findall(r'(\S+)=8', str(error.value)):
        cfg.merge_from_dict({one: 8})
    check_numbers(cfg)


def test_detection_of_few_actions():
    cfg = Config.fromfile(CONFIGS / DETECTION)
    parts = ('model.roi_head.bbox_head',)
    cfg.model.roi_head.bbox_head.num_classes = 5
    with pytest.raises(ConfigError, match=r'topk=\(3, 5\) of model.roi_head.*=5'):
        check_numbers(cfg, parts)
    cfg.model.roi_head.bbox_head.topk = (1,)
    check_numbers(cfg, parts)


def test_a_test_ignores_mixup_and_the_training_set():
    cfg = Config.fromfile(CONFIGS / RECOGNITION)
    cfg.merge_from_dict(
        {f'{one}.num_classes': 8 for one in ('model.cls_head', TESTED[3] + '.dataset')}
    )
    check_numbers(cfg, TESTED)


def test_numbers_that_a_config_leaves_to_the_default_and_files_of_names(tmp_path):
    cfg = Config.fromfile(CONFIGS / DETECTION)
    del cfg.val_evaluator['num_classes']
    check_numbers(cfg)
    names = tmp_path / 'names.txt'
    names.write_text('a\nb\n')
    cfg = Config.fromfile(CONFIGS / RECOGNITION)
    cfg.test_evaluator['label_map'] = str(names)
    with pytest.raises(ConfigError, match='400, but test_evaluator.label_map is 2'):
        check_numbers(cfg, TESTED)


@pytest.mark.parametrize(
    'text, problem',
    [('a.mp4\nb.mp4\n', 'no label'), ('a.mp4 0\nb.mp4 -1\n', 'no label'), ('b.mp4 3\n', 'label 3')],
)
def test_labels_that_a_classifier_cannot_learn(tmp_path, text, problem):
    path = tmp_path / 'list.txt'
    path.write_text(text)
    dataset = VideoListDataset(str(path), [])
    cfg = Config(dict(model=dict(cls_head=dict(type='Head', num_classes=3))))
    with pytest.raises(ConfigError, match=rf'val_data.*[ab].mp4 of .*list.txt has .*{problem}'):
        check_data(cfg, val=dataset)
    cfg = Config(dict(model=dict(head=dict(type='amd_mm.PixelReconstructionHead'))))
    check_data(cfg, train=dataset)  # pre-training needs no labels


def test_a_checkpoint_of_other_classes():
    checkpoint = dict(meta=dict(dataset_meta=dict(classes=('a', 'b', 'c'))))
    folder = SimpleNamespace(metainfo=dict(classes=('a', 'c')))
    with pytest.raises(ConfigError, match=r"test_data.* lacks \['b'\] of the checkpoint"):
        check_checkpoint(checkpoint, folder)
    check_checkpoint(checkpoint, SimpleNamespace(metainfo=dict(classes=('n0', 'n1', 'n2'))))
    check_checkpoint(dict(state_dict={}), folder)


def test_same_classes():
    check_same_classes('train', ['a', 'b'], 'val', ['a', 'b'])
    for others, problem in (
        (['b'], r"lacks \['a'\]"),
        (['a', 'b', 'c'], r"has \['c'\]"),
        (['b', 'a'], 'order'),
    ):
        with pytest.raises(ConfigError, match=f'^val .*{problem}'):
            check_same_classes('train', ['a', 'b'], 'val', others)


ACCURACY = dict(type='mmaction.AccMetric')
PRECISION = dict(type='AccMetric', metric_list=('mmit_mean_average_precision',))
REPORT = dict(type='amd_mm.ClassificationReport', out_dir='x')


@pytest.mark.parametrize(
    'evaluator, several, wrong',
    [
        (ACCURACY, True, 'top_k_accuracy, mean_class_accuracy of test_evaluator takes one'),
        (dict(metrics=[PRECISION, REPORT]), True, 'ClassificationReport .*MultiLabelReport'),
        ([PRECISION], False, 'mmit_mean_average_precision .* needs several'),
        ([PRECISION, dict(type='amd_mm.MultiLabelReport')], True, None),
        ([ACCURACY, REPORT], False, None),
        (dict(type='mmpretrain.Accuracy', topk=(1, 5)), False, r'topk=\(1, 5\) of test_ev.*=3'),
        (dict(type='mmpretrain.Accuracy', topk=1), False, None),
    ],
)
def test_metrics_suit_the_labels(evaluator, several, wrong):
    """MMAction2's metrics fail to broadcast the others, after the whole test."""
    dataset = dict(multi_class=several)
    head = dict(type='mmpretrain.LinearClsHead', num_classes=3)
    loader = dict(dataset=dataset)
    cfg = Config(dict(model=dict(head=head), test_dataloader=loader, test_evaluator=evaluator))
    if wrong is None:
        check_metrics(cfg, 'test')
    else:
        with pytest.raises(ConfigError, match=wrong):
            check_metrics(cfg, 'test')


def test_image_folders_with_other_classes(tmp_path, monkeypatch):
    """Without a class, the labels of all classes after it would be others."""
    monkeypatch.chdir(tmp_path)
    for part in ('train', 'val'):
        for label in range(10):
            folder = tmp_path / part / str(label)
            folder.mkdir(parents=True)
            for number in range(3):
                pixels = np.full((16, 16, 3), 20 * label, np.uint8)
                cv2.imwrite(str(folder / f'{number}.png'), pixels)
    shutil.rmtree('val/2')
    options = [
        f'{part}_dataloader.dataset.data_root={tmp_path}/{part}' for part in ('train', 'val')
    ]
    options += [f'test_dataloader.dataset.data_root={tmp_path}/val', 'train_cfg.max_epochs=1']
    options += [f'{part}_dataloader.num_workers=0' for part in ('train', 'test')]
    options = ['--cfg-options', *options, 'default_hooks.checkpoint.interval=1']
    options += ['train_dataloader.persistent_workers=False']
    with pytest.raises(
        SystemExit, match=r"train.py: val_data.* lacks \['2'\] of train_data.*empty folder"
    ):
        load_tool('train').main([str(CONFIGS / IMAGES), *options])
    load_tool('train').main([str(CONFIGS / IMAGES), '--no-validate', *options])
    checkpoint = f'work_dirs/{Path(IMAGES).stem}/epoch_1.pth'
    with pytest.raises(
        SystemExit, match='test.py: .* 10, but test_data.* 9 classes .*empty folder'
    ):
        load_tool('test').main([str(CONFIGS / IMAGES), checkpoint, *options])
    Path('val/02').mkdir()
    with pytest.raises(
        SystemExit, match=r"test.py: test_data.* has \['02'\], which the checkpoint"
    ):
        load_tool('test').main([str(CONFIGS / IMAGES), checkpoint, *options])
    Path('val/02').rename('val/2')
    load_tool('test').main([str(CONFIGS / IMAGES), checkpoint, *options])
