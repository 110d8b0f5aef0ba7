"""Names of classes, from the files that data sets come with."""

import json
from pathlib import Path
from typing import Any

from amd_mm.datasets.files import read_lines
from amd_mm.errors import ConfigError


def read_label_map(path: str | Path, num_classes: int | None = None) -> list[str]:
    """Read the names of classes, in the order of their labels.

    Args:
        path: a text file with one name a line, the first for label 0 (as MMAction2's
            ``label_map_k400.txt``); or ``.json`` with a list of names, or with ``{name: label}``
            (as the ``labels.json`` of Something-Something V2).
        num_classes: how many names there must be.

    Raises:
        ConfigError: if the file cannot be read, or is none of these, or has another number.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == '.json':
            names = json.loads(path.read_text(encoding='utf-8-sig'))
        else:
            lines = dict(read_lines(path))
            names = [lines.get(number, '') for number in range(1, max(lines, default=1) + 1)]
    except (OSError, ValueError) as error:
        raise ConfigError(f'the label map {path} cannot be read: {error}') from error
    if isinstance(names, dict):
        names = _sort_by_label(names, path)
    if not isinstance(names, list):
        raise ConfigError(f'{path} must hold a list of names, or a mapping of names to labels')
    names = [str(name).strip() for name in names]
    if '' in names:
        raise ConfigError(f'the label map {path} is empty at name number {names.index("") + 1}')
    if num_classes is not None and len(names) != num_classes:
        raise ConfigError(
            f'the label map {path} has {len(names)} names, but the model has {num_classes} classes'
        )
    return names


def _sort_by_label(labels: dict[str, Any], path: Path) -> list[str]:
    try:
        names = {int(label): name for name, label in labels.items()}
    except (TypeError, ValueError):
        names = {}
    if sorted(names) != list(range(len(labels))):
        raise ConfigError(f'{path} must map names to the labels 0 to {len(labels) - 1}, each once')
    return [names[label] for label in range(len(labels))]
