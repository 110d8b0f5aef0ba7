"""Tiny state dicts in our names, without building models."""

import torch
from torch import Tensor


def _block(prefix: str, width: int, layer_scale: bool) -> dict[str, tuple]:
    shapes = {
        'norm1.weight': (width,),
        'norm1.bias': (width,),
        'attn.q_bias': (width,),
        'attn.v_bias': (width,),
        'attn.qkv.weight': (3 * width, width),
        'attn.proj.weight': (width, width),
        'attn.proj.bias': (width,),
        'norm2.weight': (width,),
        'norm2.bias': (width,),
        'mlp.layers.0.0.weight': (4 * width, width),
        'mlp.layers.0.0.bias': (4 * width,),
        'mlp.layers.1.weight': (width, 4 * width),
        'mlp.layers.1.bias': (width,),
    }
    if layer_scale:
        shapes |= {'gamma_1': (width,), 'gamma_2': (width,)}
    return {prefix + name: shape for name, shape in shapes.items()}


def encoder_shapes(
    depth: int,
    width: int,
    closing: str = 'norm',
    layer_scale: bool = False,
    prefix: str = 'backbone.',
) -> dict[str, tuple]:
    shapes = {
        f'{prefix}patch_embed.projection.weight': (width, 3, 2, 4, 4),
        f'{prefix}patch_embed.projection.bias': (width,),
        f'{prefix}{closing}.weight': (width,),
        f'{prefix}{closing}.bias': (width,),
    }
    for number in range(depth):
        shapes |= _block(f'{prefix}blocks.{number}.', width, layer_scale)
    return shapes


def decoder_shapes(depth: int, width: int, encoder: int) -> dict[str, tuple]:
    shapes = {
        'decoder.embed.weight': (width, encoder),
        'decoder.mask_token': (1, 1, width),
        'decoder.norm.weight': (width,),
        'decoder.norm.bias': (width,),
        'decoder.head.weight': (96, width),
        'decoder.head.bias': (96,),
    }
    for number in range(depth):
        shapes |= _block(f'decoder.blocks.{number}.', width, False)
    return shapes


def neck_shapes(pairs: int, depth: int, student: int, teacher: int) -> dict[str, tuple]:
    shapes = {}
    for pair in range(pairs):
        shapes[f'neck.projections.{pair}.weight'] = (teacher, student)
        shapes[f'neck.generators.{pair}.mask_token'] = (1, 1, teacher)
        for number in range(depth):
            shapes |= _block(f'neck.generators.{pair}.blocks.{number}.', teacher, False)
    return shapes


def head_shapes(classes: int, width: int) -> dict[str, tuple]:
    return {'cls_head.fc_cls.weight': (classes, width), 'cls_head.fc_cls.bias': (classes,)}


def image_encoder_shapes(depth: int, width: int, closing: str = 'ln1') -> dict[str, tuple]:
    shapes = {
        'backbone.cls_token': (1, 1, width),
        'backbone.pos_embed': (1, 5, width),
        'backbone.patch_embed.projection.weight': (width, 3, 4, 4),
        'backbone.patch_embed.projection.bias': (width,),
        f'backbone.{closing}.weight': (width,),
        f'backbone.{closing}.bias': (width,),
    }
    for number in range(depth):
        shapes |= _image_block(f'backbone.layers.{number}.', width, norms=('ln1', 'ln2'), mlp='ffn')
    return shapes


def _image_block(prefix: str, width: int, norms: tuple[str, str], mlp: str) -> dict[str, tuple]:
    shapes = {
        'attn.qkv.weight': (3 * width, width),
        'attn.qkv.bias': (3 * width,),
        'attn.proj.weight': (width, width),
        'attn.proj.bias': (width,),
        f'{mlp}.layers.0.0.weight': (4 * width, width),
        f'{mlp}.layers.0.0.bias': (4 * width,),
        f'{mlp}.layers.1.weight': (width, 4 * width),
        f'{mlp}.layers.1.bias': (width,),
    }
    for norm in norms:
        shapes |= {f'{norm}.weight': (width,), f'{norm}.bias': (width,)}
    return {prefix + name: shape for name, shape in shapes.items()}


def image_decoder_shapes(depth: int, width: int, encoder: int) -> dict[str, tuple]:
    shapes = {
        'decoder.embed.weight': (width, encoder),
        'decoder.embed.bias': (width,),
        'decoder.mask_token': (1, 1, width),
        'decoder.norm.weight': (width,),
        'decoder.norm.bias': (width,),
        'decoder.head.weight': (48, width),
        'decoder.head.bias': (48,),
    }
    for number in range(depth):
        shapes |= _image_block(
            f'decoder.blocks.{number}.', width, norms=('norm1', 'norm2'), mlp='mlp'
        )
    return shapes


def projection_shapes(pairs: int, student: int, teacher: int, hidden: bool) -> dict[str, tuple]:
    shapes = {}
    for pair in range(pairs):
        layers = {'0.': student, '2.': teacher} if hidden else {'': student}
        for layer, width in layers.items():
            name = f'neck.projections.{pair}.{layer}'
            shapes[f'{name}weight'] = (teacher, width)
            shapes[f'{name}bias'] = (teacher,)
    return shapes


def image_head_shapes(classes: int, width: int) -> dict[str, tuple]:
    return {'head.fc.weight': (classes, width), 'head.fc.bias': (classes,)}


def fill(shapes: dict[str, tuple]) -> dict[str, Tensor]:
    """Different numbers in every tensor, so that no two can be confused."""
    generator = torch.Generator().manual_seed(len(shapes))
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
