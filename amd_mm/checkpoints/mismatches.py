"""Why a checkpoint does not fit a module, and what to do about it."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from .describing import ENCODER, block_numbers, describe_encoder
from .errors import CheckpointMismatchError
from .formats import looks_at_images
from .names import collapse
from .planning import Plan

_CLASSIFIERS = ('cls_head.', 'head.')


def describe_mismatch(
    label: str, module: nn.Module, state: Mapping[str, Tensor], prefix: str, plan: Plan
) -> CheckpointMismatchError:
    """The error for a checkpoint that does not fit."""
    targets = module.state_dict()
    images = looks_at_images(state), looks_at_images(targets)
    if None not in images and images[0] != images[1]:
        kinds = ['an image ViT' if one else 'a video ViT' for one in images]
        theirs = describe_encoder(state)
        ours = describe_encoder(targets, ENCODER.removeprefix(prefix))
        return CheckpointMismatchError(
            f'{label} holds {kinds[0]} ({theirs}), and '
            f'{type(module).__name__} is {kinds[1]} ({ours}); nothing was '
            'loaded. Give a checkpoint of the other kind.',
            tuple(plan.lacking),
            plan.mismatched,
            tuple(plan.foreign),
        )
    lines = [f'{label} does not fit {type(module).__name__}; nothing was loaded.']
    if plan.lacking:
        lines.append(f'missing in the file ({len(plan.lacking)}): {collapse(plan.lacking)}')
    if plan.mismatched:
        lines.append(f'of another shape ({len(plan.mismatched)}):')
        grouped: dict[tuple, list[str]] = {}
        for name, shapes in plan.mismatched.items():
            grouped.setdefault((*shapes, _numberless(name)), []).append(name)
        lines += [
            f'  {collapse(names)}: file {one}, model {other}'
            for (one, other, _), names in grouped.items()
        ]
    if plan.foreign:
        lines.append(
            'in the file, without a place in the model '
            f'({len(plan.foreign)}): {collapse(plan.foreign)}'
        )
    if plan.replaced:
        lines.append(
            f'a learned position table, where the model has a fixed one: {collapse(plan.replaced)}'
        )
    inside = ENCODER.removeprefix(prefix)
    theirs, ours = describe_encoder(state), describe_encoder(targets, inside)
    lines.append(f'The file has {theirs}; the model {ours}.')
    depths = block_numbers(state, ENCODER), block_numbers(targets, inside)
    lines += _hints(plan, *map(len, depths))
    return CheckpointMismatchError(
        '\n'.join(lines), tuple(plan.lacking), plan.mismatched, tuple(plan.foreign)
    )


def _hints(plan: Plan, their_depth: int, our_depth: int) -> list[str]:
    """What to do about it, where that can be guessed."""
    hints = []
    if _class_tokens(plan.foreign):
        hints.append(
            "The file has a class token, the model none: set the model's with_cls_token=True."
        )
    elif _class_tokens(plan.lacking):
        hints.append(
            "The model has a class token, the file none: set the model's with_cls_token=False."
        )
    elif plan.mismatched and all(name.startswith(_CLASSIFIERS) for name in plan.mismatched):
        file, model = next(iter(plan.mismatched.values()))
        hints.append(
            f'The file tells {file[0]} classes apart, the model '
            f'{model[0]}: set num_classes={file[0]} of the head, '
            'or give the file that was trained for this config.'
        )
    elif plan.mismatched:
        hints.append(
            "Give a file of the model's size, or set the model's "
            'embed_dims, depth, patch_size, tubelet_size and '
            "in_channels to the file's."
        )
    elif their_depth > our_depth and plan.foreign:
        hints.append(f"extra_blocks='ignore' takes the first {our_depth} blocks.")
    if plan.replaced:
        hints.append(
            "Set the model's use_learnable_pos_emb=True, or pos_embed_type "
            "to the file's if that is a fixed table of another kind."
        )
    tops = sorted({_part(name) for name in plan.lacking})
    if plan.lacking and not any(one.endswith(('blocks', 'layers')) for one in tops):
        hints.append(
            f'If {", ".join(tops)} may start fresh, allow it: allow_missing={tuple(tops)!r}.'
        )
    return hints


def _class_tokens(names: Iterable[str]) -> bool:
    return any(name.rpartition('.')[2] == 'cls_token' for name in names)


def _part(name: str) -> str:
    """The part of a model that a name belongs to."""
    pieces = name.split('.')
    return '.'.join(pieces[:2] if pieces[0] == 'backbone' else pieces[:1])


def _numberless(name: str) -> str:
    return re.sub(r'\.\d+(?=\.)', '.*', name)
