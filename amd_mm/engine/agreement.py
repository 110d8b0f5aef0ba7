"""Classes, labels and metrics that must agree, compared when a run starts."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from amd_mm.errors import ConfigError
from mmengine.config import Config
from torch import Tensor

_CLASSIFIERS = ('model.cls_head', 'model.head', 'model.roi_head.bbox_head')
# Their default is the number of AVA's actions and the background.
_AVA = ('AVADataset', 'AVAKineticsDataset', 'AVAMetric', 'BBoxHeadAVA')
# What a test uses; mixup, the teacher and the training set are not among it.
TESTED = (*_CLASSIFIERS, 'test_dataloader', 'test_evaluator')
TRAINED = ('model', *(f'{part}_{kind}' for part in ('train', 'val', 'test')
                      for kind in ('dataloader', 'evaluator')))  # fmt: skip


def classifier(cfg: Config) -> tuple[str, int | None]:
    """The key of the number of classes that a model predicts, and the number.

    It is None for models that predict none, as in pre-training.
    """
    for key in _CLASSIFIERS:
        part: Any = cfg
        for name in key.split('.'):
            part = part.get(name) or {}
        if part.get('num_classes') or str(part.get('type')).endswith(_AVA):
            return f'{key}.num_classes', part.get('num_classes', 81)
    return '', None


def check_numbers(cfg: Config, parts: Sequence[str] = TRAINED) -> None:
    """Compare all numbers of classes of a config with that of its classifier.

    Args:
        cfg: The config.
        parts: Dotted keys of the parts to look into.

    Raises:
        ConfigError: If one differs.
    """
    key, classes = classifier(cfg)
    if classes is None:
        return
    found: dict[str, int] = {}
    for part in parts:
        value: Any = cfg
        for name in part.split('.'):
            value = (value or {}).get(name)
        found.update(_numbers(value, part))
    others = [one for one in found if found[one] != classes]
    if not others:
        return
    if not others[0].endswith('num_classes'):
        remedy = f'give {others[0].rpartition(".")[2]} the names of all classes'
    else:
        settings = [f'{one}={classes}' for one in others if one.endswith('num_classes')]
        remedy = f'for {classes} classes use --cfg-options {" ".join(settings)}'
    raise ConfigError(
        f'{key} is {classes}, but {others[0]} is {found[others[0]]}: they must be the number of '
        f'classes of the data; {remedy}'
    )


def _numbers(part: Any, key: str) -> Iterator[tuple[str, int]]:
    """(config key, number of classes) of everything that has one."""
    if isinstance(part, (list, tuple)):
        entries: Any = enumerate(part)
    elif isinstance(part, dict):
        entries = part.items()
        default = 81 if str(part.get('type')).endswith(_AVA) else None
        if classes := part.get('num_classes', default):
            yield f'{key}.num_classes', classes
        if os.path.isfile(part.get('label_map') or ''):
            from amd_mm.evaluation.label_map import read_label_map  # imports MMAction2

            yield f'{key}.label_map', len(read_label_map(part['label_map']))
    else:
        return
    for name, value in entries:
        yield from _numbers(value, f'{key}.{name}')


def check_metrics(cfg: Config, part: str) -> None:
    """Check that the metrics suit one or several labels per video, before the test.

    Args:
        cfg: The config.
        part: ``val`` or ``test``.

    Raises:
        ConfigError: If a metric takes another number of labels than the data set gives.
    """
    dataset = (cfg.get(f'{part}_dataloader') or {}).get('dataset') or {}
    several = bool(dataset.get('multi_class'))
    evaluator: Any = cfg.get(f'{part}_evaluator') or []
    evaluator = evaluator.get('metrics', evaluator) if isinstance(evaluator, dict) else evaluator
    for metric in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]:
        name = str(metric.get('type')).rpartition('.')[2]
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


def check_data(cfg: Config, **datasets: Any) -> None:
    """Compare the labels and class names of data sets with the classifier and with each other.

    Args:
        cfg: The config. If its model predicts no classes, labels are not looked at.
        **datasets: ``train``, ``val`` or ``test`` and the data set of that loader.

    Raises:
        ConfigError: If a label is missing or too large, or the classes differ.
    """
    key, classes = classifier(cfg)
    if classes is None:
        return
    known: tuple[str, list[str]] | None = None
    for part, dataset in datasets.items():
        loader = f'{part}_dataloader.dataset'
        names = class_names(dataset)
        if names and known:
            check_same_classes(*known, loader, names)
        elif names:
            known = loader, names
            if len(names) != classes:
                remedy = f'set {key}={len(names)}'
                if part != 'train':
                    remedy = 'make an empty folder for each class that it lacks'
                raise ConfigError(
                    f'{key} is {classes}, but {loader} has {len(names)} classes '
                    f'({", ".join(names[:5])}, ...): {remedy}, or use other data'
                )
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
    """Check that two data sets have the same classes in the same order.

    Args:
        first: Describes the data that the model learns from.
        names: Their classes.
        second: Describes the other data.
        others: Their classes.

    Raises:
        ConfigError: If the classes differ.
    """
    if names == others:
        return
    missing = sorted(set(names) - set(others))
    added = sorted(set(others) - set(names))
    if added:
        problem = f'has {_some(added)}, which {first} lacks: remove the class or train with it'
    elif missing:
        problem = (
            f'lacks {_some(missing)} of {first}, so that other labels would shift: make an empty '
            'folder of that name, or list the classes in dataset.classes'
        )
    else:
        problem = f'has the classes of {first} in another order'
    raise ConfigError(f'{second} {problem}')


def _some(names: list[str], limit: int = 5) -> str:
    shown = ', '.join(map(repr, names[:limit]))
    return shown if len(names) <= limit else f'{shown} and {len(names) - limit} more'


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
        if not wrong:
            continue
        names = (info.get(one) for one in ('filename', 'frame_dir', 'img_path'))
        name = next(filter(None, names), f'sample {index}')
        source = getattr(dataset, 'ann_file', '') or 'the data'
        problem = f'the label {wrong[0]}' if wrong[0] != -1 else 'no label'
        raise ConfigError(
            f'{loader}: {name} of {source} has {problem}, but {key}={classes} needs labels from 0 '
            f'to {classes - 1}'
        )
