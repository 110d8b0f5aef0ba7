"""Compare the weights of a file with those of a module, and explain what does not fit."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from .convert import Grid, is_sincos_table, is_table, same_table
from .formats import is_image_vit
from .messages import collapse, describe_encoder

ENCODER = 'backbone.'
# The norms after the last block: a pre-training file has one, a fine-tuned file the other. A norm
# that the module lacks is ignored, because it changes nothing in the blocks before.
_CLOSING_NORMS = ('norm.', 'fc_norm.', 'ln1.', 'ln2.')
_HEADS = ('cls_head.', 'head.')


@dataclass
class Comparison:
    """Weights to copy, weights to report, and weights that do not fit."""

    encoder: str  # beginning of the encoder's names in the module
    copies: dict[str, Tensor] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    recomputed: dict[str, str] = field(default_factory=dict)
    other_table: bool = False  # the file has another fixed table than the module
    # These do not fit:
    lacking: list[str] = field(default_factory=list)  # not in the file
    mismatched: dict[str, tuple] = field(default_factory=dict)  # name -> (file's shape, module's)
    foreign: list[str] = field(default_factory=list)  # parts of the encoder not in the module
    learned: list[str] = field(default_factory=list)  # learned tables; the module's are fixed

    @property
    def fits(self) -> bool:
        """Whether every weight has its place."""
        return not (self.lacking or self.mismatched or self.foreign or self.learned)


def compare(
    module: nn.Module, state: Mapping[str, Tensor], prefix: str, allow_missing: Sequence[str]
) -> Comparison:
    """Compare weights in our names with a module; arguments as in ``load_into``."""
    encoder = ENCODER.removeprefix(prefix)
    result = Comparison(encoder)
    given = {}
    for name, tensor in state.items():
        if name.startswith(prefix):
            given[name.removeprefix(prefix)] = tensor
        else:
            result.unexpected.append(name)
    targets = module.state_dict(keep_vars=True)
    for name, target in targets.items():
        allowed = _is_allowed(name, allow_missing)
        _compare_target(result, module, name, target, given.get(name), allowed)
    for name, tensor in given.items():
        if name in targets:
            continue
        own = _unsaved_table(module, name) if is_table(name) else None
        if own is not None:
            grid = _grid_of(getattr(module, 'backbone', module), own)
            result.recomputed[name] = 'the model computes the same'
            _keep_table(result, name, own, tensor, grid, _is_allowed(name, allow_missing))
        elif not name.startswith(encoder) or name[len(encoder) :].startswith(_CLOSING_NORMS):
            result.unexpected.append(name)
        else:
            result.foreign.append(name)
    return result


def _compare_target(
    result: Comparison,
    module: nn.Module,
    name: str,
    target: Tensor,
    given: Tensor | None,
    allowed: bool,
) -> None:
    """Compare one weight of the module with the file's."""
    if is_table(name):
        owner = module.get_submodule(name.rpartition('.')[0])
        takes_table = getattr(owner, 'takes_position_table', False)
        if not isinstance(target, nn.Parameter) and not takes_table:
            if given is not None:
                _keep_table(result, name, target, given, _grid_of(owner, target), allowed)
            return
        if given is not None:
            given = _resample(result, name, owner, target, given)
    if given is not None and given.shape == target.shape:
        result.copies[name] = given
    elif allowed:
        result.missing.append(name)
    elif given is None:
        result.lacking.append(name)
    else:
        result.mismatched[name] = (tuple(given.shape), tuple(target.shape))


def _is_allowed(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name equals, is below, or matches one of the patterns."""
    return any(
        name == one or name.startswith(one.rstrip('.') + '.') or fnmatchcase(name, one)
        for one in patterns
    )


def _unsaved_table(module: nn.Module, name: str) -> Tensor | None:
    """The fixed table of a decoder, which is not in its state dict."""
    path, _, attribute = name.rpartition('.')
    try:
        return getattr(module.get_submodule(path), attribute, None)
    except AttributeError:
        return None


def _keep_table(
    result: Comparison,
    name: str,
    own: Tensor,  # (1, N, C)
    given: Tensor,  # (1, N, C); a class token may come first
    grid: Grid | None,
    allowed: bool,
) -> None:
    """Keep the module's fixed table, unless a learned one of the file would be lost."""
    extra = given.shape[1] - own.shape[1] if given.ndim == 3 else 0
    places = given[:, extra:] if extra == 1 else given
    if same_table(places, own):
        return
    if places.shape == own.shape and not allowed and not is_sincos_table(given, grid):
        result.learned.append(name)
        return
    result.other_table = True
    result.recomputed[name] = (
        f"kept the model's fixed table {tuple(own.shape)}; the file has another, "
        f'{tuple(given.shape)}. Check img_size, num_frames and pos_embed_type'
    )


def _resample(
    result: Comparison, name: str, owner: nn.Module, target: Tensor, given: Tensor
) -> Tensor:
    """A position table in the shape of the target, or unchanged if the grids are not known."""
    new = _grid_of(owner, target)
    extra = getattr(owner, 'num_extra_tokens', 0)  # class tokens come first
    if given.shape == target.shape or new is None or given.ndim != 3:
        return given
    tokens = given.shape[1] - extra
    side = math.isqrt(max(tokens, 0) // new[0])
    old = (new[0], side, side)
    if math.prod(old) != tokens:
        old = (tokens // math.prod(new[1:]), *new[1:])
    if tokens <= 0 or math.prod(old) != tokens or given.shape[2] != target.shape[2]:
        return given
    from amd_mm.models.utils import resize_position_table  # slow to import, and seldom needed

    given = given.float()
    places = resize_position_table(given[:, extra:], old, new)
    result.recomputed[name] = f'resampled from {old} to {new} tokens'
    return torch.cat([given[:, :extra], places], 1)


def _grid_of(backbone: nn.Module, table: Tensor) -> Grid | None:
    """Tokens (time, height, width) of a backbone, None if unknown."""
    grid = getattr(backbone, 'token_grid', None)
    if grid is not None:
        return grid
    plane = getattr(backbone, 'grid_size', None)  # of MMAction2's ViT
    plane = plane or getattr(backbone, 'patch_resolution', None)  # of MMPretrain's
    return (table.shape[1] // (plane[0] * plane[1]), *plane) if plane else None


def explain_mismatch(
    model: str,
    targets: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    found: Comparison,
    remedy: str | None,
) -> str:
    """Name the first weights that do not fit, and the remedy.

    Args:
        model: Class of the model.
        targets: The model's weights.
        state: The file's weights, in our names.
        found: The comparison of both.
        remedy: Advice of the caller; ``None`` stands for ``allow_missing`` of ``load_into``.
    """
    mine, theirs = describe_encoder(targets, found.encoder), describe_encoder(state)
    images = is_image_vit(state), is_image_vit(targets)
    if None not in images and images[0] != images[1]:
        kinds = ['an image ViT' if one else 'a video ViT' for one in images]
        return (
            f'holds {kinds[0]} ({theirs}), and {model} is {kinds[1]} ({mine}); nothing was loaded. '
            'Give a checkpoint of the other kind.'
        )
    lines = [f'does not fit {model}; nothing was loaded.']
    if found.lacking:
        lines.append(f'missing in the file ({len(found.lacking)}): {_first(found.lacking)}')
    if found.mismatched:
        lines += _list_shapes(found.mismatched)
    if found.foreign:
        lines.append(f'not in the model ({len(found.foreign)}): {_first(found.foreign)}')
    if found.learned:
        lines.append(
            f'learned position table in the file, fixed in the model: {_first(found.learned)}'
        )
    if mine != theirs:
        lines.append(f'The file has {theirs}; the model {mine}.')
    lines += _config_remedies(found, same_size=mine == theirs)
    if remedy is not None:
        return '\n'.join([*lines, remedy])
    patterns = _patterns(found.lacking, targets)
    patterns += tuple(name for name in found.learned if name.startswith('decoder.'))
    if patterns and not any(re.search(r'(blocks|layers)\b', one) for one in patterns):
        lines.append(
            f'If {", ".join(patterns)} may keep the initial values: allow_missing={patterns!r}.'
        )
    return '\n'.join(lines)


def _first(names: Iterable[str], limit: int = 4) -> str:
    """The first few weights, those of all blocks as one."""
    groups = collapse(names).split(', ')
    return ', '.join(groups[:limit]) + (' and others' if len(groups) > limit else '')


def _list_shapes(mismatched: Mapping[str, tuple], limit: int = 4) -> list[str]:
    """The first few weights of another shape, those of all blocks in one line."""
    groups: dict[tuple, list[str]] = {}
    for name, shapes in mismatched.items():
        groups.setdefault((*shapes, _any_number(name)), []).append(name)
    shown = list(groups.items())[:limit]
    lines = [f'of another shape ({len(mismatched)}):']
    lines += [
        f'  {collapse(names)}: file {theirs}, model {ours}' for (theirs, ours, _), names in shown
    ]
    more = len(mismatched) - sum(len(names) for _, names in shown)
    return [*lines, f'  and {more} more'] if more else lines


def _config_remedies(found: Comparison, same_size: bool) -> list[str]:
    """Keys of the config that can make a model fit."""
    lines = []
    if any(name.endswith('cls_token') for name in found.foreign):
        lines.append('The model has no class token: set its with_cls_token=True.')
    elif any(name.endswith('cls_token') for name in found.lacking):
        lines.append("The file has no class token: set the model's with_cls_token=False.")
    elif found.mismatched and all(one.startswith(_HEADS) for one in found.mismatched):
        (theirs, *_), (ours, *_) = next(iter(found.mismatched.values()))
        lines.append(
            f'The file distinguishes {theirs} classes, the model {ours}: set num_classes={theirs} '
            'of the head, or give the file that was trained for this config.'
        )
    elif found.mismatched and all(one.endswith('pos_embed') for one in found.mismatched):
        lines.append(
            "The file's position table is for other clips: set the model's img_size and num_frames "
            'to those it was trained with.'
        )
    elif found.mismatched or not same_size:
        lines.append(
            "Give a file of the model's size, or set the model's embed_dims, depth, patch_size, "
            "tubelet_size and in_channels to the file's."
        )
    if any(not name.startswith('decoder.') for name in found.learned):
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
