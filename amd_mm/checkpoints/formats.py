"""The checkpoint formats: how each one names its weights, and how it is recognised.

"Our names" are those of this package: ``backbone.*`` (as in MMAction2's ``VisionTransformer`` for
video, MMPretrain's for images), ``decoder.*`` and ``neck.*`` after pre-training, ``cls_head.*``,
``roi_head.*`` or ``head.*`` after fine-tuning. Names and shapes of the other formats were read off
the programs named in their ``description``.

How to add a format:

1. Write its rules with :func:`_rules`, as pairs (their name, our name). ``{i}`` and ``{j}`` stand
   for a number, ``{n}`` for 1 or 2, ``{p}`` for ``weight`` or ``bias``, ``{rest}`` for anything.
   Every pair is used in both directions. Where several tensors of one side are one tensor of the
   other, concatenated along the first axis, a side is a tuple of names; an empty name in it stands
   for a part that is zero, or is left out.
2. Add a :class:`Format` to ``FORMATS``. The first format whose ``marks`` are all found in a file is
   taken, so a format comes before those that it extends.
3. Add it to ``our_states`` in ``tests/test_checkpoints/test_formats.py``: the property tests there
   then check recognition, and conversion in both directions.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from amd_mm.errors import CheckpointError
from torch import Tensor

_FIELDS = {'i': r'\d+', 'j': r'\d+', 'n': '[12]', 'p': 'weight|bias', 'rest': '.+'}


class Rule(NamedTuple):
    """Templates of their names and of ours; the tensors of each side form one, concatenated."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]


_Side = str | tuple[str, ...]


def _rules(*pairs: str | tuple[_Side, _Side], theirs: str = '', ours: str = '') -> tuple[Rule, ...]:
    """Rules from pairs (their template, our template), each below a prefix.

    A single template stands for a pair of equals.
    """

    def below(prefix: str, side: _Side) -> tuple[str, ...]:
        return tuple(one and prefix + one for one in ((side,) if isinstance(side, str) else side))

    both = [(pair, pair) if isinstance(pair, str) else pair for pair in pairs]
    return tuple(Rule(below(theirs, left), below(ours, right)) for left, right in both)


@cache
def _pattern(template: str) -> re.Pattern:
    pieces = re.split(r'\{(\w+)\}', template)  # text, field, text, field, ... text
    fields = [f'(?P<{field}>{_FIELDS[field]})' for field in pieces[1::2]] + ['']
    return re.compile(''.join(re.escape(text) + field for text, field in zip(pieces[::2], fields)))


def match(template: str, name: str) -> dict[str, str] | None:
    """The fields of a name under a template, or None.

    >>> match('blocks.{i}.norm1.{p}', 'blocks.3.norm1.bias')
    {'i': '3', 'p': 'bias'}
    """
    found = _pattern(template).fullmatch(name)
    return found.groupdict() if found else None


# Blocks of a ViT, (theirs, ours): video ViTs and their decoders, image ViTs, decoders of images.
_PLAIN = (
    'norm{n}.{p}',
    'attn.proj.{p}',
    ('mlp.fc1.{p}', 'mlp.layers.0.0.{p}'),
    ('mlp.fc2.{p}', 'mlp.layers.1.{p}'),
)
_VIDEO = (*_PLAIN, 'attn.qkv.weight', 'gamma_{n}')
_BLOCK = (*_VIDEO, 'attn.q_bias', 'attn.v_bias')
# The key's bias can be left out: it adds the same number to all logits of a query, and softmax
# does not change.
_TIMM_BLOCK = (*_VIDEO, ('attn.qkv.bias', ('attn.q_bias', '', 'attn.v_bias')))
_KEY_BIAS_BLOCK = (*_PLAIN, 'attn.qkv.{p}')  # decoders of images, V-JEPA 2
_IMAGE_BLOCK = (
    ('norm{n}.{p}', 'ln{n}.{p}'),
    'attn.qkv.{p}',
    'attn.proj.{p}',
    ('mlp.fc1.{p}', 'ffn.layers.0.0.{p}'),
    ('mlp.fc2.{p}', 'ffn.layers.1.{p}'),
)
_HF_ATTENTION = 'attention.attention.'
_HF_BLOCK = (
    ('layernorm_before.{p}', 'norm1.{p}'),
    ('layernorm_after.{p}', 'norm2.{p}'),
    (_HF_ATTENTION + 'q_bias', 'attn.q_bias'),
    (_HF_ATTENTION + 'v_bias', 'attn.v_bias'),
    (tuple(f'{_HF_ATTENTION}{one}.weight' for one in ('query', 'key', 'value')), 'attn.qkv.weight'),
    ('attention.output.dense.{p}', 'attn.proj.{p}'),
    ('intermediate.dense.{p}', 'mlp.layers.0.0.{p}'),
    ('output.dense.{p}', 'mlp.layers.1.{p}'),
)
_HF_STACKS = ('videomae.encoder.layer.{i}.', 'decoder.decoder_layers.{i}.')

_PATCH = ('patch_embed.proj.{p}', 'patch_embed.projection.{p}')
_VIDEOMAE = (
    *_rules(_PATCH, 'pos_embed', 'norm.{p}', theirs='encoder.', ours='backbone.'),
    *_rules(*_BLOCK, theirs='encoder.blocks.{i}.', ours='backbone.blocks.{i}.'),
    *_rules(
        ('encoder_to_decoder.weight', 'decoder.embed.weight'),
        ('mask_token', 'decoder.mask_token'),
        ('pos_embed', 'decoder.pos_embed'),
        'decoder.norm.{p}',
        'decoder.head.{p}',
    ),
    *_rules(*_BLOCK, theirs='decoder.blocks.{i}.', ours='decoder.blocks.{i}.'),
)
_AMD = (
    *_VIDEOMAE,
    *_rules(
        ('encoder.projection_heads.{i}.weight', 'neck.projections.{i}.weight'),
        ('generator_mask_tokens.{i}', 'neck.generators.{i}.mask_token'),
    ),
    *_rules(*_BLOCK, theirs='generators.{i}.blocks.{j}.', ours='neck.generators.{i}.blocks.{j}.'),
)
_CLASSIFIER = (
    *_rules(_PATCH, 'pos_embed', 'norm.{p}', 'fc_norm.{p}', ours='backbone.'),
    *_rules(('head.{p}', 'cls_head.fc_cls.{p}')),
)
_FINETUNED = (*_CLASSIFIER, *_rules(*_BLOCK, theirs='blocks.{i}.', ours='backbone.blocks.{i}.'))
_HUGGING_FACE = (
    *_rules(
        ('embeddings.patch_embeddings.projection.{p}', 'patch_embed.projection.{p}'),
        ('layernorm.{p}', 'norm.{p}'),
        theirs='videomae.',
        ours='backbone.',
    ),
    *_rules(
        ('fc_norm.{p}', 'backbone.fc_norm.{p}'),
        ('classifier.{p}', 'cls_head.fc_cls.{p}'),
        ('encoder_to_decoder.weight', 'decoder.embed.weight'),
        ('mask_token', 'decoder.mask_token'),
        'decoder.norm.{p}',
        'decoder.head.{p}',
    ),
    *_rules(*_HF_BLOCK, theirs=_HF_STACKS[0], ours='backbone.blocks.{i}.'),
    *_rules(*_HF_BLOCK, theirs=_HF_STACKS[1], ours='decoder.blocks.{i}.'),
)
_MVD = (
    *_rules(_PATCH, 'pos_embed', 'norm.{p}', ours='backbone.'),
    *_rules(*_BLOCK, theirs='blocks.{i}.', ours='backbone.blocks.{i}.'),
    *(
        rule
        for short, teacher in (('img', 'image'), ('vid', 'video'))
        for rule in (
            *_rules(
                (f'down_{short}.{{p}}', 'embed.{p}'),
                (f'mask_token_{short}', 'mask_token'),
                (f'pos_embed_{short}', 'pos_embed'),
                (f'decoder_{short}.norm.{{p}}', 'norm.{p}'),
                (f'decoder_{short}.head.{{p}}', 'head.{p}'),
                ours=f'neck.{teacher}.decoder.',
            ),
            *_rules(
                *_BLOCK,
                theirs=f'decoder_{short}.blocks.{{i}}.',
                ours=f'neck.{teacher}.decoder.blocks.{{i}}.',
            ),
        )
    ),
)
_VJEPA2 = (
    *_rules(_PATCH, 'norm.{p}', theirs='backbone.', ours='backbone.'),
    *_rules(*_KEY_BIAS_BLOCK, theirs='backbone.blocks.{i}.', ours='backbone.blocks.{i}.'),
)
_VJEPA2_HF = (
    *_rules(
        ('embeddings.patch_embeddings.proj.{p}', 'patch_embed.projection.{p}'),
        ('layernorm.{p}', 'norm.{p}'),
        theirs='encoder.',
        ours='backbone.',
    ),
    *_rules(
        'norm{n}.{p}',
        (tuple(f'attention.{one}.{{p}}' for one in ('query', 'key', 'value')), 'attn.qkv.{p}'),
        ('attention.proj.{p}', 'attn.proj.{p}'),
        ('mlp.fc1.{p}', 'mlp.layers.0.0.{p}'),
        ('mlp.fc2.{p}', 'mlp.layers.1.{p}'),
        theirs='encoder.layer.{i}.',
        ours='backbone.blocks.{i}.',
    ),
)
_MAE = (
    *_rules(
        _PATCH,
        'cls_token',
        'pos_embed',
        ('norm.{p}', 'ln1.{p}'),
        ('fc_norm.{p}', 'ln2.{p}'),
        ours='backbone.',
    ),
    *_rules(*_IMAGE_BLOCK, theirs='blocks.{i}.', ours='backbone.layers.{i}.'),
    *_rules(
        ('head.{p}', 'head.fc.{p}'),
        ('mask_token', 'decoder.mask_token'),
        ('decoder_pos_embed', 'decoder.pos_embed'),
        ('decoder_embed.{p}', 'decoder.embed.{p}'),
        ('decoder_norm.{p}', 'decoder.norm.{p}'),
        ('decoder_pred.{p}', 'decoder.head.{p}'),
    ),
    *_rules(*_KEY_BIAS_BLOCK, theirs='decoder_blocks.{i}.', ours='decoder.blocks.{i}.'),
)
_DMAE = (
    *_MAE,
    *_rules(
        '{i}.{p}',
        ('{i}.fc1.{p}', '{i}.0.{p}'),
        ('{i}.fc2.{p}', '{i}.2.{p}'),
        theirs='aligned_feature_projection_heads.',
        ours='neck.projections.',
    ),
)
_OUR_PARTS = ('backbone', 'decoder', 'neck', 'cls_head', 'roi_head', 'head')
# Beginnings of the names of a ViT that is not a part of another model.
_VIT = ('patch_embed.', 'blocks.', 'norm.', 'fc_norm.', 'pos_embed', 'cls_token')


@dataclass(frozen=True)
class Format:
    """One public naming of the weights.

    Attributes:
        name: What users type.
        description: The programs that write such files.
        rules: See the docstring of the module.
        marks: Regular expressions. The format is recognised if each is found in some name.
        encoder: Beginnings of the encoder's names. An encoder weight that no rule knows is an
            error, because the encoder would compute something else without it.
        aliases: (another spelling, the spelling of the rules), for reading only.
        unused: (template, reason): weights that are dropped when reading.
        unwritten: (template, reason): weights that are read, but that the programs of the format
            refuse; dropped when writing.
        identity_norms: (template of a norm in the file, template of an unused norm of the same
            width), which the programs of the format load strictly: written as weight 1, bias 0.
        wrapper: Key under which the programs look for the weights in a torch file.
        table: Kind of the encoder's fixed position table, if the programs compute it and do not
            store it.
        tables: (name of a decoder's fixed table, name of its mask token, kind), where the table is
            part of the state dict. It is never part of ours.
        recognised: False if the names are those of another format, so that users must name it.
        images: Whether the encoder is an image ViT (True), a video ViT (False) or either (None).
    """

    name: str
    description: str
    rules: tuple[Rule, ...]
    marks: tuple[str, ...]
    encoder: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    unused: tuple[tuple[str, str], ...] = ()
    unwritten: tuple[tuple[str, str], ...] = ()
    identity_norms: tuple[tuple[str, str], ...] = ()
    wrapper: str | None = 'state_dict'
    table: str | None = None
    tables: tuple[tuple[str, str, str], ...] = ()
    recognised: bool = True
    images: bool | None = False


_FORMATS = (
    Format(
        name='huggingface',
        description='transformers VideoMAE: ForPreTraining and ForVideoClassification',
        rules=_HUGGING_FACE,
        marks=(r'^videomae\.embeddings\.patch_embeddings\.', r'^videomae\.encoder\.layer\.\d+\.'),
        encoder=('videomae.', 'fc_norm.'),
        aliases=tuple(
            (f'{stack}{_HF_ATTENTION}{long}.bias', f'{stack}{_HF_ATTENTION}{short}_bias')
            for stack in _HF_STACKS
            for long, short in (('query', 'q'), ('value', 'v'))
        ),
        unused=(
            ('videomae.embeddings.position_embeddings', 'the fixed sin-cos table'),
            ('position_embeddings', 'the fixed sin-cos table'),
            # It adds one number to all logits of a query.
            *(
                (f'{stack}{_HF_ATTENTION}key.bias', 'softmax cancels it, whatever its value')
                for stack in _HF_STACKS
            ),
        ),
        wrapper=None,
        table='sincos_1d',
    ),
    Format(
        name='amd',
        description='public AMD, pre-training (student, decoder, projections, generators)',
        rules=_AMD,
        marks=(
            r'^encoder\.patch_embed\.proj\.',
            r'^encoder\.blocks\.\d+\.',
            r'^(encoder\.)?projection_heads\.|^generators\.',
        ),
        encoder=('encoder.',),
        aliases=(
            ('projection_heads.{i}.weight', 'encoder.projection_heads.{i}.weight'),
            ('projection_heads.{i}', 'encoder.projection_heads.{i}.weight'),
        ),
        unused=(('generators.{i}.norm.{p}', 'the public program never uses it'),),
        unwritten=(
            (
                'generator_mask_tokens.{i}',
                'the public program keeps it in a plain list, outside of its state dict',
            ),
        ),
        identity_norms=(('generators.{i}.blocks.0.norm1.{p}', 'generators.{i}.norm.{p}'),),
        wrapper='model',
        table='sincos_1d',
    ),
    Format(
        name='videomae',
        description='public VideoMAE and VideoMAE v2, pre-training (encoder and decoder)',
        rules=_VIDEOMAE,
        marks=(r'^encoder\.patch_embed\.proj\.', r'^encoder\.blocks\.\d+\.'),
        encoder=('encoder.',),
        wrapper='model',
        table='sincos_1d',
    ),
    Format(
        name='mvd',
        description='public MVD, pre-training (student and a decoder for each teacher)',
        rules=_MVD,
        marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.', r'^decoder_(img|vid)\.'),
        encoder=_VIT,
        wrapper='model',
        tables=tuple(
            (f'pos_embed_{one}', f'mask_token_{one}', 'sincos_3d_mvd') for one in ('img', 'vid')
        ),
    ),
    Format(
        name='timm_video',
        description="a video ViT in timm's names, with one bias of query, key and value",
        rules=(
            *_CLASSIFIER,
            *_rules(*_TIMM_BLOCK, theirs='blocks.{i}.', ours='backbone.blocks.{i}.'),
        ),
        marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.attn\.qkv\.bias$', r'^pos_embed$'),
        encoder=_VIT,
        wrapper='model',
    ),
    Format(
        name='vjepa2',
        description="public V-JEPA 2, the encoder (of Meta's files the averaged one)",
        rules=_VJEPA2,
        marks=(
            r'^(backbone\.)?patch_embed\.proj\.',
            r'^(backbone\.)?blocks\.\d+\.attn\.qkv\.bias$',
        ),
        encoder=('',),
        # a bare encoder; a table is only expected in Meta's files
        aliases=tuple(
            (one + '{rest}', f'backbone.{one}{{rest}}')
            for one in ('patch_embed.', 'blocks.', 'norm.')
        ),
        unused=(
            (
                'backbone.pos_embed',
                'V-JEPA 2 has rotary positions; a file of V-JEPA 1 needs this table, and cannot '
                'be used',
            ),
        ),
        wrapper='target_encoder',
    ),
    Format(
        name='vjepa2_huggingface',
        description='transformers VJEPA2, the encoder',
        rules=_VJEPA2_HF,
        marks=(r'^(vjepa2\.)?encoder\.embeddings\.patch_embeddings\.proj\.',),
        encoder=('encoder.',),
        aliases=(('vjepa2.{rest}', '{rest}'),),  # classifiers
        unused=tuple(
            (one + '.{rest}', 'not a part of the encoder')
            for one in ('predictor', 'pooler', 'classifier')
        ),
        wrapper=None,
    ),
    Format(
        name='videomae_finetune',
        description='public VideoMAE, VideoMAE v2 and AMD, fine-tuned',
        rules=_FINETUNED,
        marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.'),
        encoder=_VIT,
        wrapper='model',
        table='sincos_1d',
    ),
    Format(
        name='mvd_finetune',
        description='public MVD, fine-tuned: the same names, so it must be named',
        rules=tuple(one for one in _FINETUNED if 'pos_embed' not in one.theirs),
        marks=(),
        encoder=_VIT,
        wrapper='model',
        table='sincos_3d_mvd',
        recognised=False,
    ),
    Format(
        name='dmae',
        description='public DMAE, pre-training (student, decoder, projections)',
        rules=_DMAE,
        marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.', r'^aligned_feature_projection_heads\.'),
        encoder=_VIT,
        wrapper='model',
        tables=(('decoder_pos_embed', 'mask_token', 'sincos_2d'),),
        images=True,
    ),
    Format(
        name='mae',
        description='public MAE, pre-training (mae_pretrain_vit_*, mae_visualize_vit_*) and '
        'fine-tuned; TinyMIM; DMAE fine-tuned',
        rules=_MAE,
        marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.'),
        encoder=_VIT,
        wrapper='model',
        tables=(('decoder_pos_embed', 'mask_token', 'sincos_2d'),),
        images=True,
    ),
    Format(
        name='mmpretrain',
        description='MMPretrain classifier or MAE with a VisionTransformer backbone',
        rules=_rules('backbone.{rest}', 'head.{rest}', 'neck.bn.{rest}'),
        marks=(r'^backbone\.patch_embed\.projection\.', r'^(head|neck\.decoder_embed)\.'),
        encoder=('backbone.',),
        unused=tuple(
            (one, "MMPretrain's decoder has another position table")
            for one in ('neck.decoder_{rest}', 'neck.mask_token', 'neck.ln1.{p}')
        ),
        images=True,
    ),
    Format(
        name='mmaction',
        description='MMAction2 / MMDetection recogniser or detector with '
        'a VisionTransformer backbone',
        rules=_rules('backbone.{rest}', 'cls_head.{rest}', 'roi_head.{rest}'),
        marks=(r'^backbone\.patch_embed\.projection\.', r'^(cls_head|roi_head)\.'),
        encoder=('backbone.',),
    ),
    Format(
        name='amd_mm',
        description='this package, pre-training',
        rules=_rules(*(f'{one}.{{rest}}' for one in _OUR_PARTS)),
        marks=(r'^backbone\.patch_embed\.projection\.',),
        encoder=('backbone.',),
        images=None,
    ),
    Format(
        name='backbone',
        description="a bare backbone in MMAction2's names, without 'backbone.'",
        rules=_rules('{rest}', ours='backbone.'),
        marks=(r'^patch_embed\.projection\.', r'^blocks\.\d+\.'),
        encoder=('',),
    ),
    Format(
        name='image_backbone',
        description="a bare backbone in MMPretrain's names, without 'backbone.'",
        rules=_rules('{rest}', ours='backbone.'),
        marks=(r'^patch_embed\.projection\.', r'^layers\.\d+\.'),
        encoder=('',),
        images=True,
    ),
)
FORMATS = {one.name: one for one in _FORMATS}


def first_few(names: Iterable[str], limit: int = 8) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {more} more' if more > 0 else '')


def known_formats() -> str:
    """The formats as a list for messages."""
    width = max(map(len, FORMATS))
    return '\n'.join(f'  {one.name:<{width}}  {one.description}' for one in FORMATS.values())


def get_format(name: str) -> Format:
    """The format called ``name``.

    Raises:
        CheckpointError: If there is none.
    """
    if name not in FORMATS:
        raise CheckpointError(f'{name!r} is not a checkpoint format. Known:\n{known_formats()}')
    return FORMATS[name]


def is_image_vit(state: Mapping[str, Tensor]) -> bool | None:
    """Whether the encoder is an image ViT, by its patch embedding; None if it has none.

    Image and video ViTs have the same names in many programs.
    """
    for name, tensor in state.items():
        if re.search(r'patch_embed\w*\.(proj|projection)\.weight$', name):
            return tensor.ndim == 4
    return None


def is_rotary(state: Mapping[str, Tensor]) -> bool:
    """Whether weights in our names are of V-JEPA 2, whose positions are rotary.

    It is the only video ViT with a bias of the key.
    """
    return is_image_vit(state) is False and any(
        re.search(r'(^|backbone\.)blocks\.\d+\.attn\.qkv\.bias$', name) for name in state
    )


def detect_format(checkpoint: Mapping[str, Any]) -> str:
    """Recognise the format of a checkpoint or state dict from names and shapes.

    Raises:
        CheckpointError: If no format fits. The message shows some of the names.
    """
    state = unwrap(checkpoint)
    images = is_image_vit(state)
    for one in FORMATS.values():
        fitting = None in (images, one.images) or images == one.images
        marked = all(any(re.search(mark, name) for name in state) for mark in one.marks)
        if one.recognised and fitting and marked:
            return one.name
    raise CheckpointError(
        f'These weights are in no known format. The file has {len(state)} tensors: '
        f'{first_few(state)}. Known formats:\n{known_formats()}'
    )


# Where programs put the weights in a file; plain weights come before averaged ones. (MMEngine's
# EMAHook saves the averaged weights as `state_dict` and the plain ones as `ema_state_dict`.
# V-JEPA 2 is used with the averaged ones.)
_WRAPPERS = (
    'state_dict',
    'model',
    'module',
    'model_state_dict',
    'model_ema',
    'ema_state_dict',
    'state_dict_ema',
    'ema',
    'target_encoder',
    'ema_encoder',
    'encoder',
)
# torch.compile, FSDP and activation checkpointing, around the model or a part of it; DDP around the
# model alone. (Parts of a model may be called `module`, as in MMEngine's averaged models.)
_PARTS = re.compile(
    r'^(?:model\.(?=module\.))?(?:(?:_orig_mod|module|_fsdp_wrapped_module)\.)+'
    r'|(?<=\.)(?:module\.)?(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
)
_COUNTERS = ('steps', 'n_averaged')  # of averaged models


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Find the weights in a checkpoint of any program.

    Looks below ``state_dict``, ``model``, ``module`` and the averaged variants, and removes the
    prefixes of ``DistributedDataParallel``, FSDP, ``torch.compile`` and averaged models.

    Args:
        checkpoint: The content of a file, or a state dict.

    Raises:
        CheckpointError: If the checkpoint has no tensors.
    """
    inner = checkpoint
    while wrapped := [inner[key] for key in _WRAPPERS if isinstance(inner.get(key), Mapping)]:
        inner = wrapped[0]
    found = {str(name): value for name, value in inner.items() if isinstance(value, Tensor)}
    if not found:
        raise CheckpointError(
            f'There are no weights in this checkpoint. It holds: {first_few(map(str, checkpoint))}.'
        )
    state = {_PARTS.sub('', name): one for name, one in found.items() if name not in _COUNTERS}
    if all(name.startswith('model.') for name in state):  # the VideoMAE v2 port on Hugging Face
        state = {name.removeprefix('model.'): one for name, one in state.items()}
    if any(name.startswith('embeddings.patch_embeddings.') for name in state):
        # VideoMAEModel, saved without the model around it
        state = {'videomae.' + name: value for name, value in state.items()}
    return state
