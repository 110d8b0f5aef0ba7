"""The formats that masked autoencoders are published in.

Every format is a table (:class:`Format`): how its names map to ours, how it
is recognised, and what in it has no use here. "Ours" are the names of a
pre-training checkpoint of this package: ``backbone.*`` (those of MMAction2's
``VisionTransformer`` for video, of MMPretrain's for images), ``decoder.*``,
``neck.*``; and, after fine-tuning, ``cls_head.*`` or ``head.*``. Names and
shapes were read off the programs named in each table's ``description``.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .errors import CheckpointFormatError
from .rules import Rule, apply_rules, make_rules, match_template, revert_rules

OURS = 'amd_mm'


@dataclass(frozen=True)
class Format:
    """One public naming of the weights.

    Attributes:
        name (str): What users type.
        description (str): Where such files come from.
        rules (tuple[Rule, ...]): The bidirectional table.
        marks (tuple[str, ...]): Regular expressions; the format is
            recognised when each is found in some name.
        encoder (tuple[str, ...]): Beginnings of the encoder's names over
            there. A name below one of them that no rule knows is an error:
            leaving out a part of the encoder would change what it computes.
        aliases (tuple[tuple[str, str], ...]): (other spelling, the spelling
            of ``rules``); understood when reading, never written.
        unused (tuple[tuple[str, str], ...]): (template, why it is dropped).
        zero (tuple[str, ...]): Templates of tensors that must be all zeros,
            because the architecture here has no such parameter.
        wrapper (str | None): Key under which the programs of this format
            look for the weights in a .pth file; None for no wrapping.
        stores_tables (bool): Whether fixed position tables are part of the
            state dict over there.
        decoder_table (str | None): Name over there of the decoder's fixed
            table where it is part of the state dict; ours never holds it.
        images (bool | None): Whether the encoder looks at images (True), at
            video (False) or at either (None), which shows in the patch
            embedding.
    """

    name: str
    description: str
    rules: tuple[Rule, ...]
    marks: tuple[str, ...]
    encoder: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    unused: tuple[tuple[str, str], ...] = ()
    zero: tuple[str, ...] = ()
    wrapper: str | None = 'state_dict'
    stores_tables: bool = False
    decoder_table: str | None = None
    images: bool | None = False


class Converted(NamedTuple):
    """What a conversion gives.

    Attributes:
        state (dict[str, Tensor]): The renamed weights.
        dropped (dict[str, str]): Name before the conversion -> why it was
            left out.
    """

    state: dict[str, Tensor]
    dropped: dict[str, str]


# One transformer block, relative to its own prefix: (theirs, ours).
_PUBLIC_BLOCK = (
    ('norm{n}.{p}', 'norm{n}.{p}'),
    ('attn.q_bias', 'attn.q_bias'),
    ('attn.v_bias', 'attn.v_bias'),
    ('attn.qkv.weight', 'attn.qkv.weight'),
    ('attn.proj.{p}', 'attn.proj.{p}'),
    ('mlp.fc1.{p}', 'mlp.layers.0.0.{p}'),
    ('mlp.fc2.{p}', 'mlp.layers.1.{p}'),
    ('gamma_{n}', 'gamma_{n}'),
)
# The same of an image ViT: the encoder's and the decoder's blocks.
_MAE_ENCODER_BLOCK = (
    ('norm{n}.{p}', 'ln{n}.{p}'),
    ('attn.qkv.{p}', 'attn.qkv.{p}'),
    ('attn.proj.{p}', 'attn.proj.{p}'),
    ('mlp.fc1.{p}', 'ffn.layers.0.0.{p}'),
    ('mlp.fc2.{p}', 'ffn.layers.1.{p}'),
)
_MAE_DECODER_BLOCK = (
    ('norm{n}.{p}', 'norm{n}.{p}'),
    ('attn.qkv.{p}', 'attn.qkv.{p}'),
    ('attn.proj.{p}', 'attn.proj.{p}'),
    ('mlp.fc1.{p}', 'mlp.layers.0.0.{p}'),
    ('mlp.fc2.{p}', 'mlp.layers.1.{p}'),
)
_HF_ATTENTION = 'attention.attention.'
_HF_BLOCK = (
    ('layernorm_before.{p}', 'norm1.{p}'),
    ('layernorm_after.{p}', 'norm2.{p}'),
    (_HF_ATTENTION + 'q_bias', 'attn.q_bias'),
    (_HF_ATTENTION + 'v_bias', 'attn.v_bias'),
    (
        tuple(
            _HF_ATTENTION + one + '.weight'
            for one in ('query', 'key', 'value')
        ),
        'attn.qkv.weight',
    ),
    ('attention.output.dense.{p}', 'attn.proj.{p}'),
    ('intermediate.dense.{p}', 'mlp.layers.0.0.{p}'),
    ('output.dense.{p}', 'mlp.layers.1.{p}'),
)

_VIDEOMAE_RULES = (
    *make_rules(
        ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
        ('pos_embed', 'pos_embed'),
        ('norm.{p}', 'norm.{p}'),
        theirs='encoder.',
        ours='backbone.',
    ),
    *make_rules(
        *_PUBLIC_BLOCK,
        theirs='encoder.blocks.{i}.',
        ours='backbone.blocks.{i}.',
    ),
    *make_rules(
        ('encoder_to_decoder.weight', 'decoder.embed.weight'),
        ('mask_token', 'decoder.mask_token'),
        ('pos_embed', 'decoder.pos_embed'),
        ('decoder.norm.{p}', 'decoder.norm.{p}'),
        ('decoder.head.{p}', 'decoder.head.{p}'),
    ),
    *make_rules(
        *_PUBLIC_BLOCK,
        theirs='decoder.blocks.{i}.',
        ours='decoder.blocks.{i}.',
    ),
)

_AMD_RULES = (
    *_VIDEOMAE_RULES,
    *make_rules(
        ('encoder.projection_heads.{i}.weight', 'neck.projections.{i}.weight'),
        ('generator_mask_tokens.{i}', 'neck.generators.{i}.mask_token'),
    ),
    *make_rules(
        *_PUBLIC_BLOCK,
        theirs='generators.{i}.blocks.{j}.',
        ours='neck.generators.{i}.blocks.{j}.',
    ),
)

_FINETUNE_RULES = (
    *make_rules(
        ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
        ('pos_embed', 'pos_embed'),
        ('norm.{p}', 'norm.{p}'),
        ('fc_norm.{p}', 'fc_norm.{p}'),
        ours='backbone.',
    ),
    *make_rules(
        *_PUBLIC_BLOCK, theirs='blocks.{i}.', ours='backbone.blocks.{i}.'
    ),
    *make_rules(('head.{p}', 'cls_head.fc_cls.{p}')),
)

_HF_RULES = (
    *make_rules(
        (
            'videomae.embeddings.patch_embeddings.projection.{p}',
            'backbone.patch_embed.projection.{p}',
        ),
        ('videomae.layernorm.{p}', 'backbone.norm.{p}'),
        ('fc_norm.{p}', 'backbone.fc_norm.{p}'),
        ('classifier.{p}', 'cls_head.fc_cls.{p}'),
        ('encoder_to_decoder.weight', 'decoder.embed.weight'),
        ('mask_token', 'decoder.mask_token'),
        ('decoder.norm.{p}', 'decoder.norm.{p}'),
        ('decoder.head.{p}', 'decoder.head.{p}'),
    ),
    *make_rules(
        *_HF_BLOCK,
        theirs='videomae.encoder.layer.{i}.',
        ours='backbone.blocks.{i}.',
    ),
    *make_rules(
        *_HF_BLOCK,
        theirs='decoder.decoder_layers.{i}.',
        ours='decoder.blocks.{i}.',
    ),
)
_HF_STACKS = ('videomae.encoder.layer.{i}.', 'decoder.decoder_layers.{i}.')

_MAE_RULES = (
    *make_rules(
        ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
        ('cls_token', 'cls_token'),
        ('pos_embed', 'pos_embed'),
        ('norm.{p}', 'ln1.{p}'),
        ('fc_norm.{p}', 'ln2.{p}'),
        ours='backbone.',
    ),
    *make_rules(
        *_MAE_ENCODER_BLOCK, theirs='blocks.{i}.', ours='backbone.layers.{i}.'
    ),
    *make_rules(
        ('head.{p}', 'head.fc.{p}'),
        ('mask_token', 'decoder.mask_token'),
        ('decoder_pos_embed', 'decoder.pos_embed'),
        ('decoder_embed.{p}', 'decoder.embed.{p}'),
        ('decoder_norm.{p}', 'decoder.norm.{p}'),
        ('decoder_pred.{p}', 'decoder.head.{p}'),
    ),
    *make_rules(
        *_MAE_DECODER_BLOCK,
        theirs='decoder_blocks.{i}.',
        ours='decoder.blocks.{i}.',
    ),
)
_MAE_ENCODER = (
    'patch_embed.',
    'blocks.',
    'norm.',
    'fc_norm.',
    'pos_embed',
    'cls_token',
)

_DMAE_RULES = (
    *_MAE_RULES,
    *make_rules(
        ('{i}.{p}', '{i}.{p}'),
        ('{i}.fc1.{p}', '{i}.0.{p}'),
        ('{i}.fc2.{p}', '{i}.2.{p}'),
        theirs='aligned_feature_projection_heads.',
        ours='neck.projections.',
    ),
)


def _same(*beginnings: str) -> tuple[Rule, ...]:
    """Rules that keep every name below these beginnings."""
    return make_rules(
        *((one + '{rest}', one + '{rest}') for one in beginnings)
    )


# Looked at in this order: a format comes before those that it extends.
FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format(
            name='huggingface',
            description='transformers VideoMAE: ForPreTraining and '
            'ForVideoClassification',
            rules=_HF_RULES,
            marks=(
                r'^videomae\.embeddings\.patch_embeddings\.',
                r'^videomae\.encoder\.layer\.\d+\.',
            ),
            encoder=('videomae.', 'fc_norm.'),
            aliases=tuple(
                (
                    f'{stack}{_HF_ATTENTION}{long}.bias',
                    f'{stack}{_HF_ATTENTION}{short}_bias',
                )
                for stack in _HF_STACKS
                for long, short in (('query', 'q'), ('value', 'v'))
            ),
            unused=(
                (
                    'videomae.embeddings.position_embeddings',
                    'the fixed sin-cos table',
                ),
                ('position_embeddings', 'the fixed sin-cos table'),
            ),
            zero=tuple(
                f'{stack}{_HF_ATTENTION}key.bias' for stack in _HF_STACKS
            ),
            wrapper=None,
        ),
        Format(
            name='amd',
            description='public AMD, pre-training (student, decoder, '
            'projections, generators)',
            rules=_AMD_RULES,
            marks=(
                r'^encoder\.patch_embed\.proj\.',
                r'^encoder\.blocks\.\d+\.',
                r'^(encoder\.)?projection_heads\.|^generators\.',
            ),
            encoder=('encoder.',),
            aliases=(
                (
                    'projection_heads.{i}.weight',
                    'encoder.projection_heads.{i}.weight',
                ),
                (
                    'projection_heads.{i}',
                    'encoder.projection_heads.{i}.weight',
                ),
            ),
            unused=(
                (
                    'generators.{i}.norm.{p}',
                    'the public program never uses it',
                ),
            ),
            wrapper='model',
        ),
        Format(
            name='videomae',
            description='public VideoMAE and VideoMAE v2, pre-training '
            '(encoder and decoder)',
            rules=_VIDEOMAE_RULES,
            marks=(
                r'^encoder\.patch_embed\.proj\.',
                r'^encoder\.blocks\.\d+\.',
            ),
            encoder=('encoder.',),
            wrapper='model',
        ),
        Format(
            name='videomae_finetune',
            description='public VideoMAE, VideoMAE v2 and AMD, fine-tuned',
            rules=_FINETUNE_RULES,
            marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.'),
            encoder=(
                'patch_embed.',
                'blocks.',
                'norm.',
                'fc_norm.',
                'pos_embed',
                'cls_token',
            ),
            wrapper='model',
        ),
        Format(
            name='dmae',
            description='public DMAE, pre-training (student, decoder, '
            'projections)',
            rules=_DMAE_RULES,
            marks=(
                r'^patch_embed\.proj\.',
                r'^blocks\.\d+\.',
                r'^aligned_feature_projection_heads\.',
            ),
            encoder=_MAE_ENCODER,
            wrapper='model',
            stores_tables=True,
            decoder_table='decoder_pos_embed',
            images=True,
        ),
        Format(
            name='mae',
            description='public MAE, pre-training (mae_pretrain_vit_*, '
            'mae_visualize_vit_*) and fine-tuned; TinyMIM; DMAE fine-tuned',
            rules=_MAE_RULES,
            marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.'),
            encoder=_MAE_ENCODER,
            wrapper='model',
            stores_tables=True,
            decoder_table='decoder_pos_embed',
            images=True,
        ),
        Format(
            name='mmpretrain',
            description='MMPretrain classifier or MAE with a '
            'VisionTransformer backbone',
            rules=_same('backbone.', 'head.', 'neck.bn.'),
            marks=(
                r'^backbone\.patch_embed\.projection\.',
                r'^(head|neck\.decoder_embed)\.',
            ),
            encoder=('backbone.',),
            unused=tuple(
                (one, "MMPretrain's decoder has another position table")
                for one in (
                    'neck.decoder_{rest}',
                    'neck.mask_token',
                    'neck.ln1.{p}',
                )
            ),
            stores_tables=True,
            images=True,
        ),
        Format(
            name='mmaction',
            description='MMAction2 / MMDetection recogniser or detector with '
            'a VisionTransformer backbone',
            rules=_same('backbone.', 'cls_head.', 'roi_head.'),
            marks=(
                r'^backbone\.patch_embed\.projection\.',
                r'^(cls_head|roi_head)\.',
            ),
            encoder=('backbone.',),
            stores_tables=True,
        ),
        Format(
            name=OURS,
            description='this package, pre-training',
            rules=_same(
                'backbone.',
                'decoder.',
                'neck.',
                'cls_head.',
                'roi_head.',
                'head.',
            ),
            marks=(r'^backbone\.patch_embed\.projection\.',),
            encoder=('backbone.',),
            stores_tables=True,
            images=None,
        ),
        Format(
            name='backbone',
            description="a bare backbone in MMAction2's names, without "
            "'backbone.'",
            rules=make_rules(
                *(
                    (one + '{rest}', one + '{rest}')
                    for one in (
                        'patch_embed.projection.',
                        'blocks.',
                        'norm.',
                        'fc_norm.',
                    )
                ),
                ('pos_embed', 'pos_embed'),
                ours='backbone.',
            ),
            marks=(r'^patch_embed\.projection\.', r'^blocks\.\d+\.'),
            encoder=('',),
            stores_tables=True,
        ),
        Format(
            name='image_backbone',
            description="a bare backbone in MMPretrain's names, without "
            "'backbone.'",
            rules=make_rules(
                *(
                    (one + '{rest}', one + '{rest}')
                    for one in (
                        'patch_embed.projection.',
                        'layers.',
                        'ln1.',
                        'ln2.',
                    )
                ),
                ('pos_embed', 'pos_embed'),
                ('cls_token', 'cls_token'),
                ours='backbone.',
            ),
            marks=(r'^patch_embed\.projection\.', r'^layers\.\d+\.'),
            encoder=('',),
            stores_tables=True,
            images=True,
        ),
    )
}

# Where programs put the weights inside a file, the plain ones before the
# averaged ones. (MMEngine's EMAHook saves the averaged weights *as*
# `state_dict`, and the plain ones as `ema_state_dict`.)
_WRAPPERS = (
    'state_dict',
    'model',
    'module',
    'model_state_dict',
    'model_ema',
    'ema_state_dict',
    'state_dict_ema',
    'ema',
)
# Prefixes of wrapping modules: DDP, the VideoMAE v2 port on Hugging Face.
_MODULE_PREFIXES = ('module.', 'model.')
_COMPILED = '_orig_mod.'
# Bookkeeping of averaged models, beside the wrapped module.
_AVERAGING = ('steps', 'n_averaged')


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Find the weights in whatever a program saved.

    Looks below ``state_dict``, ``model``, ``module`` and the averaged
    variants, and takes off what ``DistributedDataParallel``,
    ``torch.compile`` and averaged models put before every name.

    Args:
        checkpoint (Mapping[str, Any]): What :func:`read_checkpoint` gives, or
            a state dict.

    Returns:
        dict[str, Tensor]: Name -> tensor, nothing else.

    Raises:
        CheckpointFormatError: If there are no tensors.
    """
    inner: Mapping[str, Any] = checkpoint
    while True:
        wrapper = next(
            (key for key in _WRAPPERS if isinstance(inner.get(key), Mapping)),
            None,
        )
        if wrapper is None:
            break
        inner = inner[wrapper]
    state = {
        str(name).replace(_COMPILED, ''): value
        for name, value in inner.items()
        if isinstance(value, Tensor)
    }
    if not state:
        raise CheckpointFormatError(
            'There are no weights in this checkpoint. It holds: '
            f'{_some(map(str, checkpoint))}.'
        )
    for prefix in _MODULE_PREFIXES:
        state = _strip(state, prefix)
    if any(name.startswith('embeddings.patch_embeddings.') for name in state):
        # VideoMAEModel saved by itself: the same names without their prefix.
        state = {'videomae.' + name: value for name, value in state.items()}
    return state


def _strip(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take ``prefix`` off, if it is before every name that counts."""
    names = [name for name in state if name not in _AVERAGING]
    if not names or not all(name.startswith(prefix) for name in names):
        return state
    return {name[len(prefix) :]: state[name] for name in names}


def known_formats() -> str:
    """The formats as a list for messages."""
    width = max(map(len, FORMATS))
    return '\n'.join(
        f'  {one.name:<{width}}  {one.description}' for one in FORMATS.values()
    )


def get_format(name: str) -> Format:
    """The table called ``name``.

    Raises:
        CheckpointFormatError: If there is none.
    """
    if name not in FORMATS:
        raise CheckpointFormatError(
            f'{name!r} is no known checkpoint format. Known:\n'
            f'{known_formats()}'
        )
    return FORMATS[name]


def detect_format(checkpoint: Mapping[str, Any]) -> str:
    """Recognise the format from the names and shapes.

    Args:
        checkpoint (Mapping[str, Any]): A checkpoint or a state dict.

    Returns:
        str: A key of :data:`FORMATS`.

    Raises:
        CheckpointFormatError: If no format fits. The message shows some of
            the names.
    """
    state = unwrap(checkpoint)
    images = looks_at_images(state)
    for one in FORMATS.values():
        if images not in (None, one.images) and one.images is not None:
            continue
        if all(
            any(re.search(mark, name) for name in state) for mark in one.marks
        ):
            return one.name
    raise CheckpointFormatError(
        f'These weights are in no known format. The file has {len(state)} '
        f'tensors: {_some(state)}. Known formats:\n{known_formats()}'
    )


def looks_at_images(state: Mapping[str, Tensor]) -> bool | None:
    """Whether an encoder looks at images (True) or at video (False).

    Image and video ViTs carry the same names in many programs; the kernel of
    the patch embedding has 4 dimensions or 5.

    Args:
        state (Mapping[str, Tensor]): Weights in any names.

    Returns:
        bool | None: None if there is no patch embedding to tell by.
    """
    for name, tensor in state.items():
        if re.search(r'patch_embed\w*\.(proj|projection)\.weight$', name):
            return tensor.ndim == 4
    return None


def _check_kind(state: Mapping[str, Tensor], table: Format) -> None:
    """Refuse an image ViT where video is expected, and the reverse."""
    images = looks_at_images(state)
    if table.images is None or images in (None, table.images):
        return
    fitting = ', '.join(
        one.name for one in FORMATS.values() if one.images in (None, images)
    )
    kinds = (
        'an image' if images else 'a video',
        'images' if table.images else 'video',
    )
    raise CheckpointFormatError(
        f'The file holds {kinds[0]} ViT, and {table.name!r} '
        f'({table.description}) is for {kinds[1]}. For this one: {fitting}.'
    )


def to_amd_mm(
    checkpoint: Mapping[str, Any], fmt: str | None = None
) -> Converted:
    """Convert weights of any known format to our names.

    Args:
        checkpoint (Mapping[str, Any]): A checkpoint or a state dict.
        fmt (str, optional): A key of :data:`FORMATS`; recognised when None.

    Returns:
        Converted: Weights in our names (sharing memory with the given ones
        where nothing had to be fused), and what was dropped and why.

    Raises:
        CheckpointFormatError: If the format is not recognised or for the other
            kind of encoder, or a part of the encoder has no counterpart here.
    """
    table = get_format(fmt or detect_format(checkpoint))
    state = unwrap(checkpoint)
    _check_kind(state, table)
    state, dropped = _prepare(state, table)
    renamed, unknown = apply_rules(state, table.rules)
    foreign = [name for name in unknown if name.startswith(table.encoder)]
    if foreign:
        raise CheckpointFormatError(
            f'Recognised as {table.name!r} ({table.description}), but these '
            'parts of its encoder have no place in a ViT of ours: '
            f'{_some(foreign)}.'
        )
    dropped.update(dict.fromkeys(unknown, 'has no counterpart here'))
    return Converted(renamed, dropped)


def from_amd_mm(checkpoint: Mapping[str, Any], fmt: str) -> Converted:
    """Convert weights in our names to another format.

    What the other format has no place for is dropped (a neck, a decoder, a
    head), except for parts of the encoder.

    Args:
        checkpoint (Mapping[str, Any]): A checkpoint or a state dict in our
            names.
        fmt (str): A key of :data:`FORMATS`.

    Returns:
        Converted: Weights in the names of ``fmt`` (sharing memory with the
        given ones), and what was dropped and why.

    Raises:
        CheckpointFormatError: If ``fmt`` is unknown or for the other kind of
            encoder, or a part of the encoder cannot be expressed in it.
    """
    table = get_format(fmt)
    state = unwrap(checkpoint)
    _check_kind(state, table)
    dropped: dict[str, str] = {}
    if not table.stores_tables:
        dropped = {
            name: 'fixed sin-cos table, computed over there'
            for name, tensor in state.items()
            if is_fixed_table(name, tensor)
        }
        state = {
            name: tensor
            for name, tensor in state.items()
            if name not in dropped
        }
    renamed, unknown = revert_rules(state, table.rules)
    foreign = [name for name in unknown if name.startswith('backbone.')]
    if foreign:
        raise CheckpointFormatError(
            f'{table.name!r} ({table.description}) has no place for these '
            f'parts of the encoder: {_some(foreign)}.'
        )
    dropped.update(
        dict.fromkeys(unknown, f'has no counterpart in {table.name}')
    )
    _add_decoder_table(renamed, table)
    return Converted(renamed, dropped)


def _add_decoder_table(state: dict[str, Tensor], table: Format) -> None:
    """Give a decoder over there the table that it keeps in its state dict.

    Their programs load strictly, and know square grids after a class token.
    """
    if table.decoder_table in (None, *state) or not {
        'pos_embed',
        'mask_token',
    } <= set(state):
        return
    side = math.isqrt(state['pos_embed'].shape[1] - 1)
    if 1 + side**2 != state['pos_embed'].shape[1]:
        return
    # Imported here: it costs seconds, and few files need it.
    from amd_mm.models.utils import position_table

    mask_token = state['mask_token']
    places = position_table(
        (1, side, side), mask_token.shape[-1], 'sincos_2d'
    ).to(mask_token)
    state[table.decoder_table] = torch.cat(
        [torch.zeros_like(places[:, :1]), places], 1
    )


def _prepare(
    state: dict[str, Tensor], table: Format
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Settle other spellings, and take out what has no use here."""
    kept: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    for name, tensor in state.items():
        reason = _reason_to_drop(name, tensor, table)
        if reason is not None:
            dropped[name] = reason
            continue
        spelled = _spell(name, table)
        if spelled in kept:
            raise CheckpointFormatError(
                f'{spelled} is in the file twice, once as {name}.'
            )
        kept[spelled] = tensor
    return kept, dropped


def _reason_to_drop(name: str, tensor: Tensor, table: Format) -> str | None:
    for template, reason in table.unused:
        if match_template(template, name) is not None:
            return reason
    for template in table.zero:
        if match_template(template, name) is None:
            continue
        if torch.count_nonzero(tensor):
            raise CheckpointFormatError(
                f'{name} is not all zeros. VideoMAE has no such bias, so '
                'these weights do not fit it.'
            )
        return 'all zeros, as VideoMAE has it'
    return None


def _spell(name: str, table: Format) -> str:
    for other, usual in table.aliases:
        fields = match_template(other, name)
        if fields is not None:
            return usual.format(**fields)
    return name


def is_fixed_table(name: str, tensor: Tensor) -> bool:
    """Whether this is the published 1-D sin-cos position table."""
    if name.rpartition('.')[2] != 'pos_embed' or tensor.ndim != 3:
        return False
    # Imported here: it costs seconds, and few files hold a table.
    from mmaction.models.backbones.vit_mae import get_sinusoid_encoding

    table = get_sinusoid_encoding(tensor.shape[1], tensor.shape[2])
    return torch.allclose(tensor.float().cpu(), table, atol=1e-4)


def _some(names, limit: int = 8) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    shown = ', '.join(names[:limit])
    more = len(names) - limit
    return f'{shown} and {more} more' if more > 0 else shown
