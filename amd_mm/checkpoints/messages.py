"""Messages about weights: names in few words, an encoder's size, why a file does not fit."""

import re
from collections.abc import Iterable, Mapping, Sequence

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


def count_blocks(names: Iterable[str], encoder: str) -> int:
    """Number of an encoder's blocks, whose names begin with ``encoder``."""
    pattern = re.compile(re.escape(encoder) + r'(?:blocks|layers)\.(\d+)\.')
    return len({found.group(1) for found in map(pattern.match, names) if found})


def describe_encoder(state: Mapping[str, Tensor], prefix: str = 'backbone.') -> str:
    """An encoder by its size: "ViT-B: 12 blocks, 768 wide, patch 2x16x16, 3 channels".

    Args:
        state: Weights in our names.
        prefix: Beginning of the encoder's names.
    """
    depth = count_blocks(state, prefix)
    patch = state.get(f'{prefix}patch_embed.projection.weight')
    if patch is None or patch.ndim not in (4, 5):
        return f'{depth} blocks, no patch embedding'
    width, channels, *size = patch.shape
    kind = f'ViT-{_SIZES[width]}' if width in _SIZES else 'ViT'
    sides = 'x'.join(map(str, size))
    return f'{kind}: {depth} blocks, {width} wide, patch {sides}, {channels} channels'


def explain_mismatch(
    state: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    encoder: str,
    lacking: Sequence[str],
    mismatched: Mapping[str, tuple],
    foreign: Sequence[str],
    learned: Sequence[str],
    remedy: str | None,
) -> str:
    """Which weights of a file do not fit a model, and what to do.

    Args:
        state: The file's weights, in our names.
        targets: The model's weights.
        encoder: Beginning of the encoder's names in ``targets``.
        lacking: Weights that the file lacks.
        mismatched: Name -> (shape in the file, shape in the model).
        foreign: Weights of the file's encoder that the model lacks.
        learned: Learned position tables in the file, where the model's are fixed.
        remedy: Advice of the caller; ``None`` stands for the arguments of ``load_into``.
    """
    sizes = describe_encoder(state), describe_encoder(targets, encoder)
    lines = []
    if lacking:
        lines.append(f'missing in the file ({len(lacking)}): {collapse(lacking)}')
    if mismatched:
        lines.append(f'of another shape ({len(mismatched)}):')
        groups: dict[tuple, list[str]] = {}
        for name, shapes in mismatched.items():
            groups.setdefault((*shapes, _any_number(name)), []).append(name)
        lines += [
            f'  {collapse(names)}: file {theirs}, model {ours}'
            for (theirs, ours, _), names in groups.items()
        ]
    if foreign:
        lines.append(f'not in the model ({len(foreign)}): {collapse(foreign)}')
    if learned:
        lines.append(
            f'a learned position table, where the model has a fixed one: {collapse(learned)}'
        )
    lines.append(f'The file has {sizes[0]}; the model {sizes[1]}.')
    lines += _config_remedies(lacking, mismatched, foreign, learned)
    if remedy is not None:
        return '\n'.join([*lines, remedy])
    depth = count_blocks(targets, encoder)
    if count_blocks(state, 'backbone.') > depth and foreign and not mismatched:
        lines.append(f"extra_blocks='ignore' takes the first {depth} blocks.")
    patterns = _patterns(lacking, targets)
    patterns += tuple(name for name in learned if name.startswith('decoder.'))
    if patterns and not any(re.search(r'(blocks|layers)\b', one) for one in patterns):
        lines.append(
            f'If {", ".join(patterns)} may keep the initial values: allow_missing={patterns!r}.'
        )
    return '\n'.join(lines)


def _config_remedies(
    lacking: Sequence[str],
    mismatched: Mapping[str, tuple],
    foreign: Sequence[str],
    learned: Sequence[str],
) -> list[str]:
    """Keys of the config that can make a model fit."""
    lines = []
    if any(name.endswith('cls_token') for name in foreign):
        lines.append(
            "The file has a class token, the model none: set the model's with_cls_token=True."
        )
    elif any(name.endswith('cls_token') for name in lacking):
        lines.append(
            "The model has a class token, the file none: set the model's with_cls_token=False."
        )
    elif mismatched and all(name.startswith(('cls_head.', 'head.')) for name in mismatched):
        (theirs, *_), (ours, *_) = next(iter(mismatched.values()))
        lines.append(
            f'The file distinguishes {theirs} classes, the model {ours}: set num_classes={theirs} '
            'of the head, or give the file that was trained for this config.'
        )
    elif mismatched:
        lines.append(
            "Give a file of the model's size, or set the model's embed_dims, depth, patch_size, "
            "tubelet_size and in_channels to the file's."
        )
    if any(not name.startswith('decoder.') for name in learned):
        lines.append(
            "Set the model's use_learnable_pos_emb=True, or its pos_embed_type to the file's if "
            'that is a fixed table of another kind.'
        )
    return lines


def _patterns(lacking: Sequence[str], targets: Iterable[str]) -> tuple[str, ...]:
    """Values of ``allow_missing`` that permit the missing weights: whole parts, or single names."""
    present = set(targets) - set(lacking)
    patterns = set()
    for name in lacking:
        parts = name.split('.')
        parents = ['.'.join(parts[:count]) for count in range(1, len(parts))]
        whole = (one for one in parents if not any(key.startswith(f'{one}.') for key in present))
        patterns.add(_any_number(next(whole, name)))
    return tuple(sorted(patterns))


def _any_number(name: str) -> str:
    return re.sub(r'\.\d+(?=\.|$)', '.*', name)
