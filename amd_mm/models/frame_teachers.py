"""Image models as teachers of a video student, frame by frame: ours, timm's, transformers'."""

import inspect
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmengine.logging import print_log
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from .backbones import check_layers
from .teachers import Teacher, build_stopped, cast_linear_layers, check_weights, choose_dtype
from .utils import IMAGENET_MEAN, IMAGENET_STD, Grid, bf16_autocast, gather_tokens, unpatchify


class FrameTeacher(Teacher):
    """Base of image models that teach a video student, MVD section 3.

    The teacher sees the first frame of every tubelet, whole, whatever the masks. Its features are
    those of the student's tokens; class and register tokens are left out. A frame is resized so
    that the teacher cuts it into the student's grid: 224 pixels become 196 for patches of 14.

    Args:
        layers: Blocks whose output is returned, counted from 1, rising; AMD fills them in.
        embed_dims: Width of the model.
        patch_size: Height and width of its patches.
        mean: By which its images are normalised, for values up to 255.
        std: Likewise.
        img_size: Height and width of the frames that it sees. Its features are then interpolated to
            the student's grid, which the log says.
        dtype: See :class:`FrozenTeacher`.
        layer_norm: Give each token mean 0 and variance 1 over its channels (an option of MVD; UMT).
        standardize: See :class:`FrozenTeacher`.
    """

    scale: Tensor  # (C, 1, 1), from the student's normalisation to the teacher's
    shift: Tensor

    def __init__(
        self,
        layers: Sequence[int],
        embed_dims: int,
        patch_size: int | tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        img_size: int | tuple[int, int] | None = None,
        dtype: str = 'float32',
        layer_norm: bool = False,
        standardize: bool = False,
    ) -> None:
        super().__init__()
        self.layers = list(layers)
        self.embed_dims = embed_dims
        self.patch_size = to_2tuple(patch_size)
        self.mean, self.std = torch.tensor(mean), torch.tensor(std)
        self.img_size = img_size and to_2tuple(img_size)
        self.dtype = choose_dtype(dtype)
        self.layer_norm = layer_norm
        self.standardize = standardize

    @abstractmethod
    def encode_frames(self, images: Tensor) -> list[Tensor]:
        """Features of images (M, C, H, W): (M, patches, Ct) for each layer, patches row by row."""

    def set_student(self, student: Any, mean: Tensor, std: Tensor) -> None:
        """Take over the student's grid and normalisation."""
        if student.num_extra_tokens or student.in_channels != len(self.mean):
            raise ConfigError(
                f'{type(self).__name__} teaches video students of {len(self.mean)} channels and '
                f'without class token, backbone has {student.in_channels} channels and '
                f'{student.num_extra_tokens} class tokens'
            )
        self.grid, self.patch_shape = student.token_grid, student.patch_shape
        rows, cols = self.grid[1:]
        height, width = self.patch_size
        self.img_size = self.img_size or (rows * height, cols * width)
        if any(side % patch for side, patch in zip(self.img_size, self.patch_size)):
            raise ConfigError(
                f'img_size={self.img_size} of the teacher must be a multiple of its patches of '
                f'{self.patch_size} pixels'
            )
        self.its_grid = self.img_size[0] // height, self.img_size[1] // width
        if self.its_grid != (rows, cols):
            print_log(
                f"The teacher's features are interpolated from {self.its_grid} to {(rows, cols)} "
                'tokens of a frame',
                logger='current',
            )
        mean, std = mean.detach().cpu(), std.detach().cpu()
        self.register_buffer('scale', (std / self.std).view(-1, 1, 1), persistent=False)
        self.register_buffer(
            'shift', ((mean - self.mean) / self.std).view(-1, 1, 1), persistent=False
        )

    @torch.no_grad()
    def forward(self, patches: Tensor, token_ids: Tensor) -> list[Tensor]:
        """See :class:`Teacher`."""
        images = self.frames(patches)  # (B, N, P) -> (B * T', C, H, W)
        with bf16_autocast(patches.device, self.dtype == torch.bfloat16):
            layers = self.encode_frames(images)  # (B * T', patches, Ct) each
        return [self._as_tokens(layer.float(), token_ids) for layer in layers]

    def frames(self, patches: Tensor) -> Tensor:
        """First frames of tubelets, for the teacher: (B, N, P) -> (B * T', C, H, W)."""
        tubelet, height, width = self.patch_shape
        first = patches.unflatten(-1, (-1, tubelet, height, width))[..., :1, :, :]
        clip = unpatchify(first.flatten(2), self.grid, (1, height, width))  # -> (B, C, T', H, W)
        images = clip.transpose(1, 2).flatten(0, 1)  # -> (B * T', C, H, W)
        if images.shape[-2:] != self.img_size:
            images = F.interpolate(
                images, self.img_size, mode='bicubic', align_corners=False, antialias=True
            )
        return images * self.scale + self.shift

    def _as_tokens(self, layer: Tensor, token_ids: Tensor) -> Tensor:
        """Features of the student's tokens: (B * T', patches, Ct) -> (B, K, Ct)."""
        if self.its_grid != self.grid[1:]:
            maps = layer.transpose(1, 2).unflatten(2, self.its_grid)  # -> (B * T', Ct, H', W')
            maps = F.interpolate(maps, self.grid[1:], mode='bilinear', align_corners=False)
            layer = maps.flatten(2).transpose(1, 2)
        tokens = layer.reshape(len(token_ids), -1, layer.shape[-1])  # -> (B, N, Ct)
        return self.normalised(gather_tokens(tokens, token_ids))  # -> (B, K, Ct)


@MODELS.register_module()
class ImageTeacher(FrameTeacher):
    """A ViT of this package or MMPretrain that teaches a video student frame by frame.

    Args:
        backbone: Config of an :class:`ImageVisionTransformer`, which has the parameters of
            MMPretrain's ViT.
        checkpoint: File of the weights, of any known format.
        random_init: Use random weights, for tests.
        mean: By which its images are normalised; ImageNet's by default.
        std: Likewise.

    Other arguments are those of :class:`FrameTeacher`.

    Raises:
        ConfigError: If there is neither a checkpoint nor ``random_init``, or both; or if a layer is
            not one of the blocks.
    """

    def __init__(
        self,
        backbone: dict,
        layers: Sequence[int],
        checkpoint: str | None = None,
        random_init: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        img_size: int | tuple[int, int] | None = None,
        dtype: str = 'float32',
        layer_norm: bool = False,
        standardize: bool = False,
    ) -> None:
        check_weights(checkpoint, random_init, 'a pre-trained MAE, AMD or MMPretrain file')
        vit = build_stopped(backbone, list(layers), checkpoint, choose_dtype(dtype))
        patch = vit.patch_shape[1:]
        super().__init__(
            layers, vit.embed_dims, patch, mean, std, img_size, dtype, layer_norm, standardize
        )
        self.backbone = vit
        self.freeze()

    def encode_frames(self, images: Tensor) -> list[Tensor]:
        """See :class:`FrameTeacher`."""
        grid: Grid = self.backbone.grid_of(images)
        patches = self.backbone.patchify(images)
        layers = self.backbone.encode(patches, layers=self.layers, stop_early=True, grid=grid)
        return [layer[:, self.backbone.num_extra_tokens :] for layer in layers.layers]


@MODELS.register_module()
class TimmTeacher(FrameTeacher):
    """A ViT of timm that teaches a video student frame by frame.

    Args:
        model: Name in timm, such as ``vit_base_patch14_dinov2.lvd142m`` or
            ``timm/vit_base_patch14_dinov2.lvd142m``; or a local folder with its files.
        random_init: Use random weights, for tests.
        model_args: Other arguments of ``timm.create_model``.

    Other arguments are those of :class:`FrameTeacher`. The normalisation is the model's.

    Raises:
        ConfigError: If timm is not installed, or the model is not a ViT of timm.
    """

    def __init__(
        self,
        model: str,
        layers: Sequence[int],
        random_init: bool = False,
        model_args: dict | None = None,
        img_size: int | tuple[int, int] | None = None,
        dtype: str = 'float32',
        layer_norm: bool = False,
        standardize: bool = False,
    ) -> None:
        try:
            import timm
        except ImportError as error:
            raise ConfigError('TimmTeacher needs timm: pip install timm') from error
        name = f'local-dir:{model}' if Path(model).is_dir() else model.removeprefix('timm/')
        args = dict(pretrained=not random_init, num_classes=0, dynamic_img_size=True)
        try:
            vit: Any = timm.create_model(name, **(args | dict(model_args or {})))
        except (OSError, RuntimeError, TypeError) as error:
            raise ConfigError(
                f'timm makes no ViT from teacher.model={model!r}: {error}. Give the name of one of '
                'its ViTs or a local folder'
            ) from error
        if not hasattr(vit, 'blocks') or not hasattr(vit, 'forward_intermediates'):
            raise ConfigError(f'{model} is not a ViT of timm: it has no blocks')
        check_layers(layers, len(vit.blocks))
        super().__init__(
            layers,
            vit.embed_dim,
            vit.patch_embed.patch_size,
            [255 * value for value in vit.pretrained_cfg['mean']],
            [255 * value for value in vit.pretrained_cfg['std']],
            img_size,
            dtype,
            layer_norm,
            standardize,
        )
        del vit.blocks[self.layers[-1] :]
        self.backbone = cast_linear_layers(vit, self.dtype)
        self.freeze()

    def encode_frames(self, images: Tensor) -> list[Tensor]:
        """See :class:`FrameTeacher`."""
        return self.backbone.forward_intermediates(
            images,
            indices=[number - 1 for number in self.layers],
            norm=False,
            stop_early=True,
            output_fmt='NLC',
            intermediates_only=True,
        )


@MODELS.register_module()
class TransformersTeacher(FrameTeacher):
    """A ViT of transformers that teaches a video student frame by frame.

    Args:
        model: Name on the hub, such as ``facebook/dinov2-base``, or a local folder. Of CLIP and
            SigLIP the image encoder is used.
        random_init: Use random weights, for tests.
        mean: By which its images are normalised, for values up to 255; by default that of
            ``preprocessor_config.json``.
        std: Likewise.

    Other arguments are those of :class:`FrameTeacher`.

    Raises:
        ConfigError: If transformers is not installed, the model is not a ViT, or its normalisation
            is not known.
    """

    def __init__(
        self,
        model: str,
        layers: Sequence[int],
        random_init: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        img_size: int | tuple[int, int] | None = None,
        dtype: str = 'float32',
        layer_norm: bool = False,
        standardize: bool = False,
    ) -> None:
        try:
            import transformers
        except ImportError as error:
            raise ConfigError(
                'TransformersTeacher needs transformers: pip install transformers'
            ) from error
        try:
            if random_init:
                config = transformers.AutoConfig.from_pretrained(model)
                vit: Any = transformers.AutoModel.from_config(config)
            else:
                vit = transformers.AutoModel.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f'transformers cannot read teacher.model={model!r}: {error}. Give a name on the '
                'hub or a local folder'
            ) from error
        vit = getattr(vit, 'vision_model', vit)  # of CLIP and SigLIP
        config, depth = vit.config, getattr(vit.config, 'num_hidden_layers', 0)
        stacks = [
            part for part in vit.modules() if isinstance(part, nn.ModuleList) and len(part) == depth
        ]
        if len(stacks) != 1 or not hasattr(config, 'patch_size'):
            raise ConfigError(f'{model} is not a ViT of transformers with one stack of blocks')
        if hasattr(config, 'mask_ratio'):
            raise ConfigError(
                f'{model} masks and shuffles its patches, as ViTMAE does in transformers: use '
                'amd_mm.ImageTeacher, which reads its file'
            )
        check_layers(layers, depth)
        if mean is None or std is None:
            mean, std = _normalisation(model)
        super().__init__(
            layers,
            config.hidden_size,
            config.patch_size,
            mean,
            std,
            img_size,
            dtype,
            layer_norm,
            standardize,
        )
        del stacks[0][self.layers[-1] :]
        self.backbone = cast_linear_layers(vit, self.dtype)
        self.blocks = [stacks[0][number - 1] for number in self.layers]
        resizes = 'interpolate_pos_encoding' in inspect.signature(vit.forward).parameters
        self.options = dict(interpolate_pos_encoding=True) if resizes else {}
        self.freeze()

    def encode_frames(self, images: Tensor) -> list[Tensor]:
        """See :class:`FrameTeacher`. Features are taken before the closing norm, by hooks."""
        found: list[Tensor] = []

        def keep(module: nn.Module, inputs: tuple, output: Any) -> None:
            found.append(output if isinstance(output, Tensor) else output[0])

        hooks = [block.register_forward_hook(keep) for block in self.blocks]
        try:
            self.backbone(pixel_values=images, **self.options)
        finally:
            for hook in hooks:
                hook.remove()
        patches = self.its_grid[0] * self.its_grid[1]
        return [layer[:, -patches:] for layer in found]  # class and register tokens come first


def _normalisation(model: str) -> tuple[list[float], list[float]]:
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        found, _ = ImageProcessingMixin.get_image_processor_dict(model)
        return [255 * v for v in found['image_mean']], [255 * v for v in found['image_std']]
    except (OSError, KeyError) as error:
        raise ConfigError(
            f'{model} has no preprocessor_config.json with image_mean and image_std: set mean and '
            'std of the teacher, for values up to 255'
        ) from error
