"""The formats that masked autoencoders are published in.

Every format is a table (:class:`Format`): how its names map to ours, how it
is recognised, and what in it has no use here. "Ours" are the names of a
pre-training checkpoint of this package: ``backbone.*`` (those of MMAction2's
``VisionTransformer`` for video, of MMPretrain's for images), ``decoder.*``,
``neck.*``; and, after fine-tuning, ``cls_head.*`` or ``head.*``. Names and
shapes were read off the programs named in each table's ``description``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .errors import CheckpointFormatError
from .names import first_few
from .rule_tables import (
    AMD_RULES,
    DMAE_RULES,
    FINETUNE_RULES,
    HF_ATTENTION,
    HF_RULES,
    HF_STACKS,
    MAE_RULES,
    VIDEOMAE_RULES,
    VIT_PARTS,
    same_names,
)
from .rules import Rule, make_rules
from .unwrapping import unwrap

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
        joint_bias (bool): Whether query, key and value have one bias over
            there, ``qkv.bias``, where ``rules`` has VideoMAE's two.
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
    joint_bias: bool = False


# Looked at in this order: a format comes before those that it extends.
FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format(
            name='huggingface',
            description='transformers VideoMAE: ForPreTraining and ForVideoClassification',
            rules=HF_RULES,
            marks=(
                r'^videomae\.embeddings\.patch_embeddings\.',
                r'^videomae\.encoder\.layer\.\d+\.',
            ),
            encoder=('videomae.', 'fc_norm.'),
            aliases=tuple(
                (f'{stack}{HF_ATTENTION}{long}.bias', f'{stack}{HF_ATTENTION}{short}_bias')
                for stack in HF_STACKS
                for long, short in (('query', 'q'), ('value', 'v'))
            ),
            unused=(
                ('videomae.embeddings.position_embeddings', 'the fixed sin-cos table'),
                ('position_embeddings', 'the fixed sin-cos table'),
            ),
            zero=tuple(f'{stack}{HF_ATTENTION}key.bias' for stack in HF_STACKS),
            wrapper=None,
        ),
        Format(
            name='amd',
            description='public AMD, pre-training (student, decoder, projections, generators)',
            rules=AMD_RULES,
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
            wrapper='model',
        ),
        Format(
            name='videomae',
            description='public VideoMAE and VideoMAE v2, pre-training (encoder and decoder)',
            rules=VIDEOMAE_RULES,
            marks=(r'^encoder\.patch_embed\.proj\.', r'^encoder\.blocks\.\d+\.'),
            encoder=('encoder.',),
            wrapper='model',
        ),
        Format(
            name='timm_video',
            description="a video ViT in timm's names, with one bias of query, key and value",
            rules=FINETUNE_RULES,
            marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.attn\.qkv\.bias$'),
            encoder=VIT_PARTS,
            wrapper='model',
            stores_tables=True,
            joint_bias=True,
        ),
        Format(
            name='videomae_finetune',
            description='public VideoMAE, VideoMAE v2 and AMD, fine-tuned',
            rules=FINETUNE_RULES,
            marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.'),
            encoder=VIT_PARTS,
            wrapper='model',
        ),
        Format(
            name='dmae',
            description='public DMAE, pre-training (student, decoder, projections)',
            rules=DMAE_RULES,
            marks=(
                r'^patch_embed\.proj\.',
                r'^blocks\.\d+\.',
                r'^aligned_feature_projection_heads\.',
            ),
            encoder=VIT_PARTS,
            wrapper='model',
            stores_tables=True,
            decoder_table='decoder_pos_embed',
            images=True,
        ),
        Format(
            name='mae',
            description='public MAE, pre-training (mae_pretrain_vit_*, '
            'mae_visualize_vit_*) and fine-tuned; TinyMIM; DMAE fine-tuned',
            rules=MAE_RULES,
            marks=(r'^patch_embed\.proj\.', r'^blocks\.\d+\.'),
            encoder=VIT_PARTS,
            wrapper='model',
            stores_tables=True,
            decoder_table='decoder_pos_embed',
            images=True,
        ),
        Format(
            name='mmpretrain',
            description='MMPretrain classifier or MAE with a VisionTransformer backbone',
            rules=same_names('backbone.', 'head.', 'neck.bn.'),
            marks=(r'^backbone\.patch_embed\.projection\.', r'^(head|neck\.decoder_embed)\.'),
            encoder=('backbone.',),
            unused=tuple(
                (one, "MMPretrain's decoder has another position table")
                for one in ('neck.decoder_{rest}', 'neck.mask_token', 'neck.ln1.{p}')
            ),
            stores_tables=True,
            images=True,
        ),
        Format(
            name='mmaction',
            description='MMAction2 / MMDetection recogniser or detector with '
            'a VisionTransformer backbone',
            rules=same_names('backbone.', 'cls_head.', 'roi_head.'),
            marks=(r'^backbone\.patch_embed\.projection\.', r'^(cls_head|roi_head)\.'),
            encoder=('backbone.',),
            stores_tables=True,
        ),
        Format(
            name=OURS,
            description='this package, pre-training',
            rules=same_names('backbone.', 'decoder.', 'neck.', 'cls_head.', 'roi_head.', 'head.'),
            marks=(r'^backbone\.patch_embed\.projection\.',),
            encoder=('backbone.',),
            stores_tables=True,
            images=None,
        ),
        Format(
            name='backbone',
            description="a bare backbone in MMAction2's names, without 'backbone.'",
            rules=make_rules(
                *(
                    (one + '{rest}', one + '{rest}')
                    for one in ('patch_embed.projection.', 'blocks.', 'norm.', 'fc_norm.')
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
            description="a bare backbone in MMPretrain's names, without 'backbone.'",
            rules=make_rules(
                *(
                    (one + '{rest}', one + '{rest}')
                    for one in ('patch_embed.projection.', 'layers.', 'ln1.', 'ln2.')
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


def known_formats() -> str:
    """The formats as a list for messages."""
    width = max(map(len, FORMATS))
    return '\n'.join(f'  {one.name:<{width}}  {one.description}' for one in FORMATS.values())


def get_format(name: str) -> Format:
    """The table called ``name``.

    Raises:
        CheckpointFormatError: If there is none.
    """
    if name not in FORMATS:
        raise CheckpointFormatError(
            f'{name!r} is no known checkpoint format. Known:\n{known_formats()}'
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
        if all(any(re.search(mark, name) for name in state) for mark in one.marks):
            return one.name
    raise CheckpointFormatError(
        f'These weights are in no known format. The file has {len(state)} '
        f'tensors: {first_few(state)}. Known formats:\n{known_formats()}'
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
