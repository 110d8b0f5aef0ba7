"""The variants of configs that the READMEs document, as ``--cfg-options``.

A README names a config (``Variants of [NAME](PATH):``); each row of the table below it has the
name of a variant and its options.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config, DictAction

from .shrink import CONFIGS


class Variant(NamedTuple):
    """One row of a README."""

    config: Path
    name: str
    options: dict[str, object]

    def __str__(self) -> str:
        return f'{self.config.stem}: {self.name}'

    def load(self) -> Config:
        """The config with the variant's options."""
        cfg = Config.fromfile(self.config)
        cfg.merge_from_dict(self.options)
        return cfg


def _read(page: Path) -> list[Variant]:
    found, config = [], None
    for line in page.read_text().splitlines():
        if match := re.match(r'Variants of \[.*\]\((\S+)\)', line):
            config = (page.parent / match[1]).resolve()
        elif line.startswith('#'):
            config = None
        elif config and (match := re.match(r'\| (.+?) \| `(\S+=.+?)` \|', line)):
            pairs = (option.split('=', 1) for option in shlex.split(match[2]))
            options = {key: DictAction._parse_iterable(value) for key, value in pairs}
            found.append(Variant(config, match[1], options))
    return found


VARIANTS = [variant for page in sorted(CONFIGS.glob('*/README.md')) for variant in _read(page)]
