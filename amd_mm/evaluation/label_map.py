"""Names of classes, from the files that data sets come with."""

import json
from collections.abc import Sequence
from pathlib import Path


class LabelMapError(ValueError):
    """A file of class names that cannot be used; the message names it."""


def read_label_map(path: str | Path) -> list[str]:
    """Read the names of classes, in the order of their labels.

    Args:
        path (str | Path): A text file with one name a line, line 1 for label
            0 (as MMAction2's ``label_map_k400.txt``); or a ``.json`` file
            with a list of names, or with ``{name: label}``, labels from 0
            (as the ``labels.json`` of Something-Something V2).

    Returns:
        List[str]: Names by label.

    Raises:
        LabelMapError: If there is no such file, or it is none of these.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise LabelMapError(f'the label map {path} cannot be read: {error}') from error
    names = (
        _from_json(text, path)
        if path.suffix.lower() == '.json'
        else [line.strip() for line in text.rstrip().splitlines()]
    )
    for number, name in enumerate(names, start=1):
        if not name:
            raise LabelMapError(f'{path}: name number {number} is empty')
    if not names:
        raise LabelMapError(f'the label map {path} is empty')
    return names


def _from_json(text: str, path: Path) -> list[str]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise LabelMapError(f'{path} is no JSON: {error}') from error
    if isinstance(content, list):
        return [str(name) for name in content]
    if isinstance(content, dict):
        return _in_order(content, path)
    raise LabelMapError(f'{path} must hold a list of names, or a mapping of names to labels')


def _in_order(labels: dict, path: Path) -> list[str]:
    try:
        names = {int(label): name for name, label in labels.items()}
    except (TypeError, ValueError):
        names = {}
    if sorted(names) != list(range(len(labels))):
        raise LabelMapError(
            f'{path} must map names to the labels 0 to {len(labels) - 1}, each once'
        )
    return [names[label] for label in range(len(labels))]


def check_label_map(names: Sequence[str], num_classes: int, path: str | Path) -> None:
    """See that there is one name for each class.

    Args:
        names (Sequence[str]): From :func:`read_label_map`.
        num_classes (int): Of the model.
        path (str | Path): Where the names are from, for the message.

    Raises:
        LabelMapError: If there are more or fewer.
    """
    if len(names) != num_classes:
        raise LabelMapError(
            f'the label map {path} has {len(names)} names, but the model '
            f'tells {num_classes} classes apart'
        )
