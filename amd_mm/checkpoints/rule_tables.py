"""How the names of each public format map to ours, as rules.

Pairs are (their name, our name), see :mod:`amd_mm.checkpoints.rules`; which
file follows which of these tables is said in
:mod:`amd_mm.checkpoints.formats`.
"""

from .rules import Rule, make_rules

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
HF_ATTENTION = 'attention.attention.'
_HF_BLOCK = (
    ('layernorm_before.{p}', 'norm1.{p}'),
    ('layernorm_after.{p}', 'norm2.{p}'),
    (HF_ATTENTION + 'q_bias', 'attn.q_bias'),
    (HF_ATTENTION + 'v_bias', 'attn.v_bias'),
    (tuple(HF_ATTENTION + one + '.weight' for one in ('query', 'key', 'value')), 'attn.qkv.weight'),
    ('attention.output.dense.{p}', 'attn.proj.{p}'),
    ('intermediate.dense.{p}', 'mlp.layers.0.0.{p}'),
    ('output.dense.{p}', 'mlp.layers.1.{p}'),
)

VIDEOMAE_RULES = (
    *make_rules(
        ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
        ('pos_embed', 'pos_embed'),
        ('norm.{p}', 'norm.{p}'),
        theirs='encoder.',
        ours='backbone.',
    ),
    *make_rules(*_PUBLIC_BLOCK, theirs='encoder.blocks.{i}.', ours='backbone.blocks.{i}.'),
    *make_rules(
        ('encoder_to_decoder.weight', 'decoder.embed.weight'),
        ('mask_token', 'decoder.mask_token'),
        ('pos_embed', 'decoder.pos_embed'),
        ('decoder.norm.{p}', 'decoder.norm.{p}'),
        ('decoder.head.{p}', 'decoder.head.{p}'),
    ),
    *make_rules(*_PUBLIC_BLOCK, theirs='decoder.blocks.{i}.', ours='decoder.blocks.{i}.'),
)

AMD_RULES = (
    *VIDEOMAE_RULES,
    *make_rules(
        ('encoder.projection_heads.{i}.weight', 'neck.projections.{i}.weight'),
        ('generator_mask_tokens.{i}', 'neck.generators.{i}.mask_token'),
    ),
    *make_rules(
        *_PUBLIC_BLOCK, theirs='generators.{i}.blocks.{j}.', ours='neck.generators.{i}.blocks.{j}.'
    ),
)

FINETUNE_RULES = (
    *make_rules(
        ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
        ('pos_embed', 'pos_embed'),
        ('norm.{p}', 'norm.{p}'),
        ('fc_norm.{p}', 'fc_norm.{p}'),
        ours='backbone.',
    ),
    *make_rules(*_PUBLIC_BLOCK, theirs='blocks.{i}.', ours='backbone.blocks.{i}.'),
    *make_rules(('head.{p}', 'cls_head.fc_cls.{p}')),
)

HF_RULES = (
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
    *make_rules(*_HF_BLOCK, theirs='videomae.encoder.layer.{i}.', ours='backbone.blocks.{i}.'),
    *make_rules(*_HF_BLOCK, theirs='decoder.decoder_layers.{i}.', ours='decoder.blocks.{i}.'),
)
HF_STACKS = ('videomae.encoder.layer.{i}.', 'decoder.decoder_layers.{i}.')

MAE_RULES = (
    *make_rules(
        ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
        ('cls_token', 'cls_token'),
        ('pos_embed', 'pos_embed'),
        ('norm.{p}', 'ln1.{p}'),
        ('fc_norm.{p}', 'ln2.{p}'),
        ours='backbone.',
    ),
    *make_rules(*_MAE_ENCODER_BLOCK, theirs='blocks.{i}.', ours='backbone.layers.{i}.'),
    *make_rules(
        ('head.{p}', 'head.fc.{p}'),
        ('mask_token', 'decoder.mask_token'),
        ('decoder_pos_embed', 'decoder.pos_embed'),
        ('decoder_embed.{p}', 'decoder.embed.{p}'),
        ('decoder_norm.{p}', 'decoder.norm.{p}'),
        ('decoder_pred.{p}', 'decoder.head.{p}'),
    ),
    *make_rules(*_MAE_DECODER_BLOCK, theirs='decoder_blocks.{i}.', ours='decoder.blocks.{i}.'),
)
# What the names of a ViT begin with where it is not a part of something.
VIT_PARTS = ('patch_embed.', 'blocks.', 'norm.', 'fc_norm.', 'pos_embed', 'cls_token')

DMAE_RULES = (
    *MAE_RULES,
    *make_rules(
        ('{i}.{p}', '{i}.{p}'),
        ('{i}.fc1.{p}', '{i}.0.{p}'),
        ('{i}.fc2.{p}', '{i}.2.{p}'),
        theirs='aligned_feature_projection_heads.',
        ours='neck.projections.',
    ),
)


def same_names(*beginnings: str) -> tuple[Rule, ...]:
    """Rules that keep every name below these beginnings."""
    return make_rules(*((one + '{rest}', one + '{rest}') for one in beginnings))
