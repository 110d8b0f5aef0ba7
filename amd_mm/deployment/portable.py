"""A trained model as one function: from pixels to scores or features."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from amd_mm.checkpoints import load_into
from amd_mm.evaluation.clip_encoder import ClipEncoder
from amd_mm.registry import MODELS
from mmaction.models.recognizers import Recognizer3D
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.models.backbones import VisionTransformer
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor, nn

from .errors import ExportError

INPUTS = ('uint8', 'normalised')
_CLOSED = ('cls_token', 'avg_featmap')  # one feature for an image


class PortableModel(nn.Module):
    """A trained model with one input and one output.

    Args:
        core (nn.Module): From normalised pixels to (B, ...).
        size (Sequence[int]): Of one input: (C, T, H, W) of a clip, (C, H, W)
            of an image.
        output (str): What comes out: ``logits`` or ``features``.
        mean (Sequence[float], optional): Of red, green and blue, for values
            up to 255; None if the model takes pixels as they are.
        std (Sequence[float], optional): Of red, green and blue.
        bgr (bool): The core sees blue, green, red.
        takes (str): ``uint8``: pixels, normalised inside; ``normalised``:
            float32, normalised by the caller.

    Raises:
        ExportError: If ``takes`` is neither, or mean and std are not those of
            the input's channels.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        core: nn.Module,
        size: Sequence[int],
        output: str,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr: bool = False,
        takes: str = 'uint8',
    ) -> None:
        super().__init__()
        if takes not in INPUTS:
            raise ExportError(f'the input is one of {INPUTS}, not {takes!r}')
        self.core = core
        self.size = tuple(size)
        self.output = output
        self.bgr = bgr
        self.takes = takes
        channels = self.size[0]
        self.mean: list[float] = list(mean or [0.0] * channels)
        self.std: list[float] = list(std or [1.0] * channels)
        if {len(self.mean), len(self.std)} != {channels}:
            raise ExportError(
                f'mean {self.mean} and std {self.std} of the '
                f'data_preprocessor are not for {channels} channels'
            )
        # As computed in training: divided, not multiplied by the inverse.
        for name, values in (('_mean', self.mean), ('_std', self.std)):
            shape = (-1, *[1] * (len(self.size) - 1))
            self.register_buffer(name, torch.tensor(values).view(shape), persistent=False)
        self.requires_grad_(False).eval()

    @property
    def input(self) -> str:
        """What the input is called."""
        return 'clip' if len(self.size) == 4 else 'image'

    @property
    def dtype(self) -> torch.dtype:
        """Type of the input's values."""
        return torch.uint8 if self.takes == 'uint8' else torch.float32

    def example(self, batch: int, seed: int = 0) -> Tensor:
        """Noise of the input's shape and type: (batch, *size).

        Args:
            batch (int): How many.
            seed (int): Of the noise.

        Returns:
            Tensor: (batch, *size), of the type :attr:`dtype`.
        """
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, *self.size)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        if self.takes == 'uint8':
            return pixels
        return (pixels.float() - self._mean) / self._std

    @torch.no_grad()
    def num_outputs(self) -> int:
        """Classes, or width of a feature."""
        return self(self.example(1)).shape[-1]

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores or features.

        Args:
            pixels (Tensor): (B, C, T, H, W) or (B, C, H, W), RGB.

        Returns:
            Tensor: (B, classes) or (B, width), float32.
        """
        values = pixels
        if self.takes == 'uint8':
            values = (pixels.float() - self._mean) / self._std
        if self.bgr:
            values = values.flip(1)
        return self.core(values)


class _Recognizer(nn.Module):
    """MMAction2's recogniser, from one view (B, C, T, H, W) to scores."""

    def __init__(self, model: Recognizer3D) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        features, _ = self.model.extract_feat(clips.unsqueeze(1), test_mode=True)
        return self.model.cls_head(features)


class _ClipFeatures(nn.Module):
    """The mean over a clip's tokens, after the norm: (B, width)."""

    def __init__(self, encoder: ClipEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> Tensor:
        backbone = self.encoder.backbone
        patches = backbone.patchify(clips)
        tokens: Any = backbone.encode(patches, grid=backbone.grid_of(clips)).tokens
        return self.encoder.pool(tokens)


class _ImageFeatures(nn.Module):
    """What MMPretrain's ViT returns of an image: (B, width)."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)[-1]


def build_classifier(cfg: Config, checkpoint: str, takes: str = 'uint8') -> PortableModel:
    """The whole of a fine-tuned or probed model.

    What it needs in training only, such as a teacher, is left out. A video is
    one view: the mean over several views is up to the caller.

    Args:
        cfg (Config): Of recognition or image classification.
        checkpoint (str): As for :func:`amd_mm.checkpoints.read_checkpoint`.
        takes (str): See :class:`PortableModel`.

    Returns:
        PortableModel: On the CPU, from pixels to logits.

    Raises:
        ExportError: If the config is of another task or backbone.
        CheckpointError: If the checkpoint does not fit.
    """
    model_cfg = _without_starts(cfg)
    name = str(model_cfg.get('type'))
    head = 'cls_head' if model_cfg.get('cls_head') else 'head'
    kind = _class_of(model_cfg, Recognizer3D, ImageClassifier)
    if kind is None or not model_cfg.get(head, {}).get('num_classes'):
        raise ExportError(
            f'{cfg.filename} is of {name}, which does not tell classes apart: '
            'give the config and the checkpoint of a fine-tuned classifier, '
            'or export the encoder alone (--features)'
        )
    parts = {key: model_cfg[key] for key in ('backbone', 'neck', head) if model_cfg.get(key)}
    model = _build(dict(type=kind, **parts), cfg)
    load_into(model, checkpoint, logger='silent')
    core = _Recognizer(model) if kind is Recognizer3D else model
    return PortableModel(
        core,
        _size_of(model.backbone, name),
        'logits',
        **_normalisation(model_cfg, kind is ImageClassifier),
        takes=takes,
    )


def build_encoder(cfg: Config, checkpoint: str, takes: str = 'uint8') -> PortableModel:
    """The bare backbone of any model, as an extractor of features.

    Of a clip it is the mean over the normed tokens if the model is
    pre-trained, and the normed mean over the tokens if it is fine-tuned; of
    an image the class token, or the mean if the config's ``out_type`` is.

    Args:
        cfg (Config): Of pre-training, recognition, detection or image
            classification.
        checkpoint (str): As for :func:`amd_mm.checkpoints.read_checkpoint`.
        takes (str): See :class:`PortableModel`.

    Returns:
        PortableModel: On the CPU, from pixels to features.

    Raises:
        ExportError: If the config has no ViT of this package.
        CheckpointError: If the checkpoint does not fit.
    """
    model_cfg = _without_starts(cfg)
    backbone_cfg = model_cfg.get('backbone') or {}
    name = str(backbone_cfg.get('type', 'no backbone'))
    images = _class_of(backbone_cfg, VisionTransformer) is not None
    if images:
        if backbone_cfg.get('out_type', 'cls_token') not in _CLOSED:
            backbone_cfg['out_type'] = 'cls_token'
        backbone = _build(backbone_cfg, cfg)
        load_into(backbone, checkpoint, logger='silent')
        core: nn.Module = _ImageFeatures(backbone)
    else:
        encoder = ClipEncoder.from_checkpoint(checkpoint, cfg)
        backbone, core = encoder.backbone, _ClipFeatures(encoder)
    return PortableModel(
        core, _size_of(backbone, name), 'features', **_normalisation(model_cfg, images), takes=takes
    )


def _without_starts(cfg: Config) -> Any:
    """A copy of the model's config that loads and compiles nothing."""
    model_cfg = copy.deepcopy(cfg.get('model') or {})
    backbone = model_cfg.get('backbone') or {}
    for key in ('pretrained', 'init_cfg'):
        backbone.pop(key, None)
    if 'compile_blocks' in backbone:
        backbone['compile_blocks'] = False
    return model_cfg


def _class_of(cfg: Any, *kinds: type) -> type | None:
    """The first of these classes that what a config builds is one of."""
    found = MODELS.get(str(cfg.get('type')))
    return next((one for one in kinds if found and issubclass(found, one)), None)


def _build(model_cfg: Any, cfg: Config) -> Any:
    scope = cfg.get('default_scope') or 'mmengine'
    try:
        with DefaultScope.overwrite_default_scope(scope):
            return MODELS.build(model_cfg)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ExportError(f'the model of {cfg.filename} cannot be built: {error}') from error


def _size_of(backbone: Any, name: str) -> tuple[int, ...]:
    """One input of a backbone: (C, T, H, W), or (C, H, W) of an image."""
    if not hasattr(backbone, 'token_grid'):
        raise ExportError(
            f'model.backbone of {name} is {type(backbone).__name__}, no ViT '
            'of this package: set its type to amd_mm.VideoVisionTransformer '
            'or amd_mm.ImageVisionTransformer, which take the same arguments '
            'and weights'
        )
    pixels = [tokens * side for tokens, side in zip(backbone.token_grid, backbone.patch_shape)]
    return (backbone.in_channels, *pixels[5 - backbone.input_dims :])


def _normalisation(model_cfg: Any, images: bool) -> dict[str, Any]:
    """Mean and deviation of red, green and blue, and the order inside.

    Images are loaded as BGR and ``to_rgb`` turns them; videos are decoded as
    RGB, and ``to_rgb`` turns them, too, into BGR.
    """
    found = model_cfg.get('data_preprocessor') or {}
    mean, std = found.get('mean'), found.get('std')
    bgr = bool(found.get('to_rgb', False)) != images
    if bgr and mean and std:
        mean, std = mean[::-1], std[::-1]
    return dict(mean=mean, std=std, bgr=bgr)
