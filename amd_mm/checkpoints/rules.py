"""Bidirectional renaming rules: one table serves both directions.

A rule is a pair of name templates. ``{i}`` and ``{j}`` stand for a number,
``{n}`` for 1 or 2, ``{p}`` for ``weight`` or ``bias``, ``{rest}`` for
anything. The same pair is
read from left to right and from right to left, so that the two directions
cannot disagree. A rule whose left side has several names stands for tensors
that are one after the other, along the first axis, in the tensor on the right
(the fused query, key and value matrix).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .errors import CheckpointFormatError

_FIELDS = {'i': r'\d+', 'j': r'\d+', 'n': '[12]', 'p': 'weight|bias', 'rest': '.+'}


@cache
def _compiled(template: str) -> re.Pattern:
    """The regular expression that a whole name must match."""
    pieces = re.split(r'\{(\w+)\}', template)
    pattern = ''
    for index, piece in enumerate(pieces):
        is_field = index % 2 == 1
        pattern += f'(?P<{piece}>{_FIELDS[piece]})' if is_field else re.escape(piece)
    return re.compile(pattern)


def match_template(template: str, name: str) -> dict[str, str] | None:
    """The fields of ``name`` under ``template``, or None.

    >>> match_template('blocks.{i}.norm1.{p}', 'blocks.3.norm1.bias')
    {'i': '3', 'p': 'bias'}
    """
    found = _compiled(template).fullmatch(name)
    return found.groupdict() if found else None


@dataclass(frozen=True)
class Rule:
    """Names over there and the one name here.

    Attributes:
        theirs (tuple[str, ...]): One template, or several whose tensors are
            concatenated along the first axis.
        ours (str): Template of the name in this package.
    """

    theirs: tuple[str, ...]
    ours: str


def make_rules(
    *pairs: tuple[str | tuple[str, ...], str], theirs: str = '', ours: str = ''
) -> tuple[Rule, ...]:
    """Rules from pairs of templates, each below a prefix.

    Args:
        *pairs: (template or templates over there, template here).
        theirs (str): Put before every template over there.
        ours (str): Put before every template here.
    """
    rules = []
    for left, right in pairs:
        lefts = (left,) if isinstance(left, str) else left
        rules.append(Rule(tuple(theirs + one for one in lefts), ours + right))
    return tuple(rules)


def apply_rules(
    state: Mapping[str, Tensor], rules: Iterable[Rule]
) -> tuple[dict[str, Tensor], list[str]]:
    """Rename and fuse: their names to ours.

    Args:
        state (Mapping[str, Tensor]): Their state dict.
        rules (Iterable[Rule]): The table.

    Returns:
        tuple: The state dict in our names, and the names that no rule knows.

    Raises:
        CheckpointFormatError: If a part of a fused tensor is absent.
    """
    rules = tuple(rules)
    wanted: dict[str, tuple[str, ...]] = {}
    unknown = []
    for name in state:
        found = _find(name, rules, 'theirs')
        if found is None:
            unknown.append(name)
            continue
        rule, fields = found
        target = rule.ours.format(**fields)
        wanted[target] = tuple(one.format(**fields) for one in rule.theirs)
    renamed = {}
    for target, parts in wanted.items():
        absent = [part for part in parts if part not in state]
        if absent:
            raise CheckpointFormatError(
                f'{target} is made of {", ".join(parts)}, but the file lacks {", ".join(absent)}.'
            )
        tensors = [state[part] for part in parts]
        renamed[target] = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
    return renamed, unknown


def revert_rules(
    state: Mapping[str, Tensor], rules: Iterable[Rule]
) -> tuple[dict[str, Tensor], list[str]]:
    """Rename and split: our names to theirs.

    Args:
        state (Mapping[str, Tensor]): Our state dict.
        rules (Iterable[Rule]): The table.

    Returns:
        tuple: The state dict in their names, and the names that have no
        counterpart there.

    Raises:
        CheckpointFormatError: If a fused tensor cannot be cut evenly.
    """
    rules = tuple(rules)
    renamed: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        found = _find(name, rules, 'ours')
        if found is None:
            unknown.append(name)
            continue
        rule, fields = found
        parts = [one.format(**fields) for one in rule.theirs]
        if tensor.ndim and tensor.shape[0] % len(parts):
            raise CheckpointFormatError(
                f'{name} of shape {tuple(tensor.shape)} cannot be cut into '
                f'{len(parts)} equal parts ({", ".join(parts)}).'
            )
        pieces = [tensor] if len(parts) == 1 else tensor.chunk(len(parts))
        renamed.update(zip(parts, pieces))
    return renamed, unknown


def _find(name: str, rules: tuple[Rule, ...], side: str) -> tuple[Rule, dict[str, str]] | None:
    for rule in rules:
        templates = rule.theirs if side == 'theirs' else (rule.ours,)
        for template in templates:
            fields = match_template(template, name)
            if fields is not None:
                return rule, fields
    return None
