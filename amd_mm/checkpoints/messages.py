"""Short texts about weights: lists of names, the size of an encoder."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

_SIZES = {192: 'Ti', 384: 'S', 768: 'B', 1024: 'L', 1280: 'H', 1408: 'g'}


def collapse(names: Iterable[str], brief: bool = False) -> str:
    """Shorten many names: ``blocks.{0-11}.norm1.bias``.

    Args:
        names: Names of weights.
        brief: Name only the blocks and layers, not the weights in them.
    """
    groups: dict[str, set[int]] = {}
    for name in names:
        if brief:
            block = re.match(r'.*?(?:blocks|layers?|generators)\.\d+(?=\.)', name)
            name = block.group() if block else re.sub(r'\.(weight|bias)$', '', name)
        number = re.search(r'\.(\d+)(?=\.|$)', name)
        if number is None:
            groups.setdefault(name, set())
        else:
            key = f'{name[: number.start(1)]}{{}}{name[number.end(1) :]}'
            groups.setdefault(key, set()).add(int(number.group(1)))
    return ', '.join(
        key.replace('{}', _ranges(numbers), 1) if numbers else key
        for key, numbers in groups.items()
    )


def _ranges(numbers: set[int]) -> str:
    """``{0-3,7}``, or the number itself if there is only one."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    text = ','.join(str(a) if a == b else f'{a}-{b}' for a, b in spans)
    return text if len(numbers) == 1 else f'{{{text}}}'


def group_by_reason(dropped: Mapping[str, str]) -> list[tuple[int, str]]:
    """Summarise dropped weights: (count, "names (reason)") for each reason."""
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
    more = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {more} more' if more > 0 else '')


def describe_encoder(state: Mapping[str, Tensor], prefix: str = 'backbone.') -> str:
    """An encoder by its size: "ViT-B: 12 blocks, 768 wide, patch 2x16x16, 3 channels, 1568 tokens".

    Args:
        state: Weights in our names.
        prefix: Beginning of the encoder's names.
    """
    block = re.compile(re.escape(prefix) + r'(?:blocks|layers)\.(\d+)\.')
    depth = len({found.group(1) for found in map(block.match, state) if found})
    patch = state.get(f'{prefix}patch_embed.projection.weight')
    if patch is None or patch.ndim not in (4, 5):
        return f'{depth} blocks, no patch embedding'
    width, channels, *size = patch.shape
    kind = f'ViT-{_SIZES[width]}' if width in _SIZES else 'ViT'
    sides = 'x'.join(map(str, size))
    table = state.get(f'{prefix}pos_embed')
    tokens = '' if table is None or table.ndim != 3 else f', {table.shape[1]} tokens'
    return f'{kind}: {depth} blocks, {width} wide, patch {sides}, {channels} channels{tokens}'
