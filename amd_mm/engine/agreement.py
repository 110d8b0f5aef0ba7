"""Classes, labels and metrics that must agree, compared when a run starts."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from amd_mm.errors import ConfigError
from amd_mm.registry import type_name
from mmengine.config import Config
from mmengine.dist import is_main_process
from torch import Tensor

_CLASSIFIERS = ('model.cls_head', 'model.head', 'model.roi_head.bbox_head')
# Their default is the number of AVA's actions and the background.
_AVA = ('AVADataset', 'AVAKineticsDataset', 'AVAMetric', 'BBoxHeadAVA')
TESTED = (*_CLASSIFIERS, 'test_dataloader', 'test_evaluator')
"""The parts of a config that a test uses: without mixup and the training set."""
TRAINED = (
    *('model.data_preprocessor', 'model.train_cfg'),
    *('train_dataloader', 'val_dataloader', 'val_evaluator', *TESTED),
)


def classifier(cfg: Config) -> tuple[str, int | None]:
    """The key of the number of classes that a model predicts, and the number.

    The number is None for models that predict no classes, as in pre-training.
    """
    for key in _CLASSIFIERS:
        for name, classes in _numbers(_at(cfg, key), key):
            return name, classes
    return '', None


def check_numbers(cfg: Config, parts: Sequence[str] = TRAINED) -> None:
    """Compare all numbers of classes of a config with that of its classifier.

    Args:
        cfg: The config.
        parts: Dotted keys of the parts to look into.

    Raises:
        ConfigError: If one differs; the message has the settings for all of them. Or if a head
            for detection counts more of the best actions than there are.
    """
    key, classes = classifier(cfg)
    if classes is None:
        return
    head = _at(cfg, 'model.roi_head.bbox_head') or {}
    topk = head.get('topk', (3, 5))  # BBoxHeadAVA's default
    if head and np.max(topk or (), initial=0) >= classes:  # class 0 is the background
        raise ConfigError(
            f'topk={topk} of model.roi_head.bbox_head must be less than {key}={classes}: use '
            '--cfg-options "model.roi_head.bbox_head.topk=(1,)"'
        )
    found = {name: count for part in parts for name, count in _numbers(_at(cfg, part), part)}
    others = [name for name in found if found[name] != classes]
    if not others:
        return
    settings = [f'{one}={classes}' for one in others if one.endswith('num_classes')]
    remedy = f'use --cfg-options {" ".join(settings)}' if settings else 'give a file of all names'
    raise ConfigError(
        f'{key} is {classes}, but {others[0]} is {found[others[0]]}: they must be the number of '
        f'classes of the data; for {classes} classes {remedy}'
    )


def _at(cfg: Config, key: str) -> Any:
    part: Any = cfg
    for name in key.split('.'):
        part = part.get(name) if isinstance(part, (dict, Config)) else None
    return part


def _numbers(part: Any, key: str) -> Iterator[tuple[str, int]]:
    """(config key, number of classes) of everything in a part that has one."""
    if isinstance(part, dict):
        default = 81 if str(part.get('type')).endswith(_AVA) else None
        if classes := part.get('num_classes', default):
            yield f'{key}.num_classes', classes
        if os.path.isfile(part.get('label_map') or ''):
            from amd_mm.evaluation.label_map import read_label_map  # imports MMAction2

            yield f'{key}.label_map', len(read_label_map(part['label_map']))
    inside = part.items() if isinstance(part, dict) else enumerate(part or ())
    for name, value in inside:
        if isinstance(value, (dict, list, tuple)):
            yield from _numbers(value, f'{key}.{name}')


def check_metrics(cfg: Config, part: str) -> None:
    """Check that the metrics suit the labels, before the test and not after it.

    Raises:
        ConfigError: If a metric of ``part`` (val or test) takes another number of labels per video
            than the data set gives, or more classes than there are.
    """
    several = bool((_at(cfg, f'{part}_dataloader.dataset') or {}).get('multi_class'))
    key, classes = classifier(cfg)
    evaluator = cfg.get(f'{part}_evaluator') or []
    evaluator = evaluator.get('metrics', evaluator) if isinstance(evaluator, dict) else evaluator
    for metric in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]:
        name = type_name(metric)
        if name == 'AccMetric':
            names = metric.get('metric_list', ('top_k_accuracy', 'mean_class_accuracy'))
            name = names if isinstance(names, str) else ', '.join(names)
        if several and ('accuracy' in name or name in ('ConfusionMatrix', 'ClassificationReport')):
            raise ConfigError(
                f'{part}_dataloader.dataset.multi_class=True gives several labels per video, but '
                f'{name} of {part}_evaluator takes one: use amd_mm.MultiLabelReport, or '
                'dict(type="mmaction.AccMetric", metric_list=("mmit_mean_average_precision",))'
            )
        if 'average_precision' in name and not several:
            raise ConfigError(
                f'{name} of {part}_evaluator needs several labels per video: use '
                f'dict(type="mmaction.AccMetric"), or {part}_dataloader.dataset.multi_class=True'
            )
        if name == 'Accuracy' and classes and np.max(metric.get('topk', 1)) > classes:
            raise ConfigError(
                f'topk={metric.topk} of {part}_evaluator is more than {key}={classes}: set topk=1'
            )


def check_data(cfg: Config, **datasets: Any) -> None:
    """Compare labels and names of classes with the classifier, and between data sets.

    Args:
        cfg: The config. If its model predicts no classes, labels are not needed.
        **datasets: ``train``, ``val`` or ``test`` and the data set of that loader.

    Raises:
        ConfigError: If a label is missing or too large, or the classes differ.
    """
    key, classes = classifier(cfg)
    if classes is None:
        return
    known: tuple[str, list[str]] | None = None
    for part, dataset in datasets.items():
        loader, names = f'{part}_dataloader.dataset', class_names(dataset)
        if names and known:
            check_same_classes(*known, loader, names)
        elif names and len(names) != classes:
            remedy = f'set {key}={len(names)}'
            if part != 'train':
                remedy = 'make an empty folder for each class that it lacks'
            raise ConfigError(
                f'{key} is {classes}, but {loader} has {len(names)} classes '
                f'({", ".join(names[:5])}, ...): {remedy}, or use other data'
            )
        known = known or (loader, names) if names else known
        if is_main_process():  # the others read the same lists, and it takes a while
            _check_labels(dataset, loader, key, classes)


def check_checkpoint(checkpoint: dict, dataset: Any) -> None:
    """Compare the classes that a checkpoint was trained on with those of the tested data set.

    Names that have nothing in common (``n01440764`` and ``tench``) cannot be compared.

    Raises:
        ConfigError: If the classes differ.
    """
    meta = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
    names, others = [str(name) for name in meta.get('classes') or ()], class_names(dataset)
    if set(names) & set(others):
        check_same_classes('the checkpoint', names, 'test_dataloader.dataset', others)


def class_names(dataset: Any) -> list[str]:
    """The names of a data set's classes, in the order of the labels; empty if unknown."""
    return [str(name) for name in getattr(dataset, 'metainfo', {}).get('classes') or ()]


def check_same_classes(first: str, names: list[str], second: str, others: list[str]) -> None:
    """Check that the second data have the classes of the first, in the same order.

    Raises:
        ConfigError: If not; a class that only one of them has would shift the labels after it.
    """
    if names == others:
        return
    problem = f'has the classes of {first} in another order'
    if missing := sorted(set(names) - set(others)):
        problem = f'lacks {missing[:5]} of {first}: make an empty folder, or set `classes` for it'
    if added := sorted(set(others) - set(names)):
        problem = f'has {added[:5]}, which {first} lacks: remove them, or train with them'
    raise ConfigError(f'{second} {problem}')


def _check_labels(dataset: Any, loader: str, key: str, classes: int) -> None:
    if not hasattr(dataset, 'get_data_info'):
        return
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        label = info.get('label', info.get('gt_label'))
        if isinstance(label, Tensor) or {'gt_bboxes', 'instances'} & info.keys():
            return  # a vector, or boxes: the data set checked its labels when it read them
        labels = label if isinstance(label, (list, tuple)) else [-1 if label is None else label]
        wrong = [int(one) for one in labels if not 0 <= one < classes]
        if wrong:
            names = (info.get(one) for one in ('filename', 'frame_dir', 'img_path'))
            name = next(filter(None, names), f'sample {index}')
            source = getattr(dataset, 'ann_file', '') or 'the data'
            problem = f'the label {wrong[0]}' if wrong[0] != -1 else 'no label'
            raise ConfigError(
                f'{loader}: {name} of {source} has {problem}, but {key}={classes} needs labels '
                f'from 0 to {classes - 1}'
            )
