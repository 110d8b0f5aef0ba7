"""Shapes of tiny models in our names, without building the models."""

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def fill(shapes: Shapes) -> dict[str, Tensor]:
    """Different numbers in every tensor, so that no two can be confused."""
    generator = torch.Generator().manual_seed(len(shapes))
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _linear(name: str, out: int, width: int) -> Shapes:
    return {f'{name}.weight': (out, width), f'{name}.bias': (out,)}


def _norm(name: str, width: int) -> Shapes:
    return {f'{name}.weight': (width,), f'{name}.bias': (width,)}


def _block(name: str, width: int, layer_scale: bool = False) -> Shapes:
    """A block of a video ViT, of its decoder or of a generator."""
    return {
        **_norm(f'{name}.norm1', width),
        **_norm(f'{name}.norm2', width),
        **{f'{name}.attn.{one}_bias': (width,) for one in 'qv'},
        f'{name}.attn.qkv.weight': (3 * width, width),
        **_linear(f'{name}.attn.proj', width, width),
        **_linear(f'{name}.mlp.layers.0.0', 4 * width, width),
        **_linear(f'{name}.mlp.layers.1', width, 4 * width),
        **{f'{name}.gamma_{one}': (width,) for one in '12' if layer_scale},
    }


def _image_block(name: str, width: int, norm: str, mlp: str) -> Shapes:
    return {
        **_norm(f'{name}.{norm}1', width),
        **_norm(f'{name}.{norm}2', width),
        **_linear(f'{name}.attn.qkv', 3 * width, width),
        **_linear(f'{name}.attn.proj', width, width),
        **_linear(f'{name}.{mlp}.layers.0.0', 4 * width, width),
        **_linear(f'{name}.{mlp}.layers.1', width, 4 * width),
    }


def encoder(depth: int, width: int, norm: str = 'norm', layer_scale: bool = False) -> Shapes:
    shapes = {
        'backbone.patch_embed.projection.weight': (width, 3, 2, 4, 4),
        'backbone.patch_embed.projection.bias': (width,),
        **_norm(f'backbone.{norm}', width),
    }
    for number in range(depth):
        shapes |= _block(f'backbone.blocks.{number}', width, layer_scale)
    return shapes


def rotary_encoder(depth: int, width: int) -> Shapes:
    """Of V-JEPA 2."""
    shapes = {
        'backbone.patch_embed.projection.weight': (width, 3, 2, 4, 4),
        'backbone.patch_embed.projection.bias': (width,),
        **_norm('backbone.norm', width),
    }
    for number in range(depth):
        shapes |= _image_block(f'backbone.blocks.{number}', width, 'norm', 'mlp')
    return shapes


def image_encoder(depth: int, width: int, norm: str = 'ln1') -> Shapes:
    shapes = {
        'backbone.cls_token': (1, 1, width),
        'backbone.pos_embed': (1, 5, width),
        'backbone.patch_embed.projection.weight': (width, 3, 4, 4),
        'backbone.patch_embed.projection.bias': (width,),
        **_norm(f'backbone.{norm}', width),
    }
    for number in range(depth):
        shapes |= _image_block(f'backbone.layers.{number}', width, 'ln', 'ffn')
    return shapes


def decoder(depth: int, width: int, encoder_width: int, images: bool = False) -> Shapes:
    shapes = {
        **_linear('decoder.embed', width, encoder_width),
        'decoder.mask_token': (1, 1, width),
        **_norm('decoder.norm', width),
        **_linear('decoder.head', 48 if images else 96, width),
    }
    if not images:
        del shapes['decoder.embed.bias']
    for number in range(depth):
        name = f'decoder.blocks.{number}'
        shapes |= _image_block(name, width, 'norm', 'mlp') if images else _block(name, width)
    return shapes


def neck(pairs: int, depth: int, student: int, teacher: int) -> Shapes:
    """Projections without bias, and generators."""
    shapes = {}
    for pair in range(pairs):
        shapes[f'neck.projections.{pair}.weight'] = (teacher, student)
        shapes[f'neck.generators.{pair}.mask_token'] = (1, 1, teacher)
        for number in range(depth):
            shapes |= _block(f'neck.generators.{pair}.blocks.{number}', teacher)
    return shapes


def mvd_decoders(student: int, teacher: int, width: int = 4) -> Shapes:
    """One for each teacher."""
    shapes = {}
    for name in ('neck.image.decoder', 'neck.video.decoder'):
        shapes |= {
            **_linear(f'{name}.embed', width, student),
            f'{name}.mask_token': (1, 1, width),
            **_block(f'{name}.blocks.0', width),
            **_norm(f'{name}.norm', width),
            **_linear(f'{name}.head', teacher, width),
        }
    return shapes


def projections(pairs: int, student: int, teacher: int, hidden: bool) -> Shapes:
    """Of DMAE: a linear layer, or two."""
    shapes = {}
    for pair in range(pairs):
        name = f'neck.projections.{pair}'
        if hidden:
            shapes |= _linear(f'{name}.0', teacher, student) | _linear(
                f'{name}.2', teacher, teacher
            )
        else:
            shapes |= _linear(name, teacher, student)
    return shapes


def head(classes: int, width: int, images: bool = False) -> Shapes:
    return _linear('head.fc' if images else 'cls_head.fc_cls', classes, width)
