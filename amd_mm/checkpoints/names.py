"""Many names of parameters, said in few words."""

import re
from collections.abc import Iterable, Mapping


def collapse(names: Iterable[str], brief: bool = False) -> str:
    """Many names in few words: ``blocks.{0-11}.norm1.bias``.

    Args:
        names (Iterable[str]): Names of parameters.
        brief (bool): Name blocks and layers only, not the weights in them.

    Returns:
        str: The names, separated by commas.
    """
    groups: dict[str, list[int]] = {}
    for name in names:
        if brief:
            name = _summarised(name)
        found = re.search(r'\.(\d+)(?=\.|$)', name)
        if found is None:
            groups.setdefault(name, [])
            continue
        key = name[: found.start(1)] + '{}' + name[found.end(1) :]
        groups.setdefault(key, []).append(int(found.group(1)))
    texts = []
    for key, numbers in groups.items():
        if numbers:
            key = key.replace('{}', _ranges(numbers), 1)
        texts.append(key)
    return ', '.join(texts)


def _summarised(name: str) -> str:
    """A name up to the number of its block, or without weight and bias."""
    found = re.match(r'(.*?(?:blocks|layers?|generators)\.\d+)\.', name)
    return found.group(1) if found else re.sub(r'\.(weight|bias)$', '', name)


def _ranges(numbers: Iterable[int]) -> str:
    """``{0-3,7}``, or the number itself if there is one."""
    ordered = sorted(set(numbers))
    if len(ordered) == 1:
        return str(ordered[0])
    spans: list[list[int]] = []
    for number in ordered:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    texts = [str(a) if a == b else f'{a}-{b}' for a, b in spans]
    return '{' + ','.join(texts) + '}'


def group_by_reason(dropped: Mapping[str, str]) -> list[tuple[int, str]]:
    """What was dropped, a line for every reason.

    Args:
        dropped (Mapping[str, str]): Name -> reason.

    Returns:
        list[tuple[int, str]]: How many, and "names (reason)".
    """
    groups: dict[str, list[str]] = {}
    for name, reason in dropped.items():
        groups.setdefault(reason, []).append(name)
    return [
        (len(names), f'{collapse(names, brief=True)} ({reason})')
        for reason, names in groups.items()
    ]


def first_few(names: Iterable[str], limit: int = 8) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    shown = ', '.join(names[:limit])
    more = len(names) - limit
    return f'{shown} and {more} more' if more > 0 else shown
