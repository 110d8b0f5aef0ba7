"""Models to look into, from checkpoints and configs."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from amd_mm.checkpoints import load_encoder, load_into, read_checkpoint, to_amd_mm
from amd_mm.datasets.video_reader import describe_error
from amd_mm.models.algorithms import MaskedAutoencoder, TinyMIM
from amd_mm.models.backbones import ImageVisionTransformer, VideoVisionTransformer
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from .errors import VisualizationError

# Stock backbones, whose weights and arguments ours take.
_STOCK = {
    'mmaction.VisionTransformer': 'amd_mm.VideoVisionTransformer',
    'mmpretrain.VisionTransformer': 'amd_mm.ImageVisionTransformer',
}
# After the last block; nothing here looks behind that.
_CLOSING_NORMS = ('norm', 'fc_norm', 'ln1', 'ln2')
# Arguments that decide what follows the last block, or how to start.
_ENDS = (
    'out_type',
    'final_norm',
    'return_feat_map',
    'use_mean_pooling',
    'pretrained',
    'init_cfg',
    'compile_blocks',
)


@dataclass(frozen=True)
class Encoder:
    """A backbone and how its inputs are normalised.

    Attributes:
        backbone (nn.Module): One of ours, in evaluation mode.
        mean (Tensor): (C,), of the inputs, for values up to 255.
        std (Tensor): (C,).
    """

    backbone: Any
    mean: Tensor
    std: Tensor

    @property
    def frames(self) -> int | None:
        """Frames of a clip; None for images."""
        return frames_of(self.backbone)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return size_of(self.backbone)

    def patches(self, inputs: Tensor) -> Tensor:
        """(B, N, P), normalised, of (B, C, T, H, W) or (B, C, H, W), uint8."""
        values = normalise(inputs, self.mean, self.std)
        return self.backbone.patchify(values)


def frames_of(backbone: Any) -> int | None:
    """Frames of a clip that a backbone was built for; None for images."""
    if backbone.input_dims == 4:
        return None
    return backbone.token_grid[0] * backbone.patch_shape[0]


def size_of(backbone: Any) -> tuple[int, int]:
    """Height and width that a backbone was built for, pixels."""
    (_, rows, columns), patch = backbone.token_grid, backbone.patch_shape
    return rows * patch[1], columns * patch[2]


def normalise(inputs: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B, C, ...), values up to 255, minus the mean, over the deviation."""
    shape = (-1, *[1] * (inputs.ndim - 2))
    mean, std = (one.to(inputs.device).view(shape) for one in (mean, std))
    return (inputs.float() - mean) / std


def _model_of(cfg: Config) -> dict[str, Any]:
    model = cfg.get('model')
    if not model or 'type' not in model:
        raise VisualizationError(f'{cfg.filename} describes no model')
    return dict(model)


def _class_of(cfg: Config, kind: object) -> type:
    """The class behind a ``type`` of a config."""
    if isinstance(kind, type):
        return kind
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        found = MODELS.get(str(kind))
    if found is None:
        raise VisualizationError(f'{cfg.filename}: there is no model {kind}')
    return found


def load_autoencoder(
    checkpoint: str,
    cfg: Config,
    student_ratio: float | None = None,
    teacher_ratio: float | None = None,
) -> MaskedAutoencoder:
    """A model that reconstructs: encoder, decoder and masks, no teacher.

    Args:
        checkpoint (str): Of any known format, with the decoder's weights.
        cfg (Config): Its config.
        student_ratio (float, optional): Share masked for the student, if not
            the config's.
        teacher_ratio (float, optional): Share masked for the teacher, if not
            the config's.

    Returns:
        MaskedAutoencoder: In evaluation mode, on the CPU. It decodes
        everything that the student does not see.

    Raises:
        CheckpointError: If the file cannot be read or does not fit.
        VisualizationError: If there is nothing that reconstructs.
    """
    model = _autoencoder_config(cfg)
    if not model.get('mask_generator'):
        raise VisualizationError(f'{cfg.filename}: the model has no mask_generator')
    masks = dict(model['mask_generator'])
    for name in ('decoder_ratio', 'generator_ratio'):
        masks.pop(name, None)
    if student_ratio is not None:
        masks['student_ratio'] = student_ratio
    if teacher_ratio is not None:
        masks['teacher_ratio'] = teacher_ratio
    model['mask_generator'] = masks
    state = to_amd_mm(read_checkpoint(checkpoint)).state
    if not any(name.startswith('decoder.') for name in state):
        raise VisualizationError(
            f'{checkpoint} holds no decoder, so noise would be drawn: give a '
            'checkpoint of pre-training, not one that was fine-tuned or cut '
            'down to its encoder'
        )
    autoencoder = _build(model, str(cfg.filename))
    load_into(autoencoder, state, fmt='amd_mm', name=checkpoint, logger='silent')
    return autoencoder.eval()


def _autoencoder_config(cfg: Config) -> dict[str, Any]:
    """What a :class:`MaskedAutoencoder` takes of a config's model."""
    model = _model_of(cfg)
    found = _class_of(cfg, model['type'])
    if issubclass(found, TinyMIM):
        raise VisualizationError(
            f'{cfg.filename}: TinyMIM learns relations of tokens and '
            'reconstructs nothing, it has no decoder'
        )
    if not issubclass(found, MaskedAutoencoder):
        raise VisualizationError(
            f'{cfg.filename}: a {found.__name__} reconstructs nothing; give '
            'config and checkpoint of pre-training (VideoMAE, MAE, AMD, DMAE)'
        )
    if not model.get('rec_weight', 1):
        raise VisualizationError(
            f'{cfg.filename}: with rec_weight=0 the model has no decoder, so it cannot reconstruct'
        )
    # Without teacher and neck, which reconstruct nothing and are large.
    known = inspect.signature(MaskedAutoencoder).parameters
    kept = {name: value for name, value in model.items() if name in known}
    kept.update(type='amd_mm.MaskedAutoencoder', compile_blocks=False)
    return kept


def load_backbone(checkpoint: str, cfg: Config) -> Encoder:
    """The backbone of a model of any kind, pre-trained or fine-tuned.

    Args:
        checkpoint (str): Of any known format.
        cfg (Config): Its config.

    Raises:
        CheckpointError: If the file cannot be read or does not fit.
        VisualizationError: If there is no such backbone.
    """
    model = _model_of(cfg)
    return build_encoder(
        model.get('backbone') or {},
        to_amd_mm(read_checkpoint(checkpoint)).state,
        checkpoint,
        *_normalisation(model),
    )


def load_teacher(cfg: Config, checkpoint: str | None = None) -> Encoder:
    """The whole teacher of a config, with the blocks after its last layer.

    Args:
        cfg (Config): Of AMD, DMAE or TinyMIM.
        checkpoint (str, optional): Its weights, if they are not where the
            config says.

    Raises:
        CheckpointError: If the file cannot be read or does not fit.
        VisualizationError: If the config has no teacher, or no weights of it.
    """
    model = _model_of(cfg)
    teacher = model.get('teacher') or {}
    checkpoint = checkpoint or teacher.get('checkpoint')
    if 'backbone' not in teacher:
        raise VisualizationError(f'{cfg.filename} has no teacher: name one with its checkpoint')
    if not checkpoint:
        raise VisualizationError(
            f'{cfg.filename} names no checkpoint of the teacher: give it (--teacher FILE)'
        )
    return build_encoder(
        teacher['backbone'],
        to_amd_mm(read_checkpoint(checkpoint)).state,
        checkpoint,
        *_normalisation(model),
    )


def build_encoder(
    backbone: Mapping[str, Any],
    state: Mapping[str, Tensor],
    name: str,
    mean: Sequence[float],
    std: Sequence[float],
) -> Encoder:
    """An encoder from its parts.

    Args:
        backbone (Mapping[str, Any]): Its config: a ViT of this package, of
            MMAction2 or of MMPretrain.
        state (Mapping[str, Tensor]): Weights in our names.
        name (str): Of the weights, for messages.
        mean (Sequence[float]): Of each channel, for values up to 255.
        std (Sequence[float]): Of each channel.

    Returns:
        Encoder: In evaluation mode, on the CPU.

    Raises:
        CheckpointError: If the weights do not fit.
        VisualizationError: If it is another backbone.
    """
    return Encoder(
        _build_backbone(backbone, state, name),
        torch.tensor(mean, dtype=torch.float32),
        torch.tensor(std, dtype=torch.float32),
    )


def layer_pairs_of(cfg: Config | None) -> list[tuple[int, int]]:
    """Pairs (block of the student, block of the teacher) of a config."""
    model = (cfg and cfg.get('model')) or {}
    return [(one, other) for one, other in model.get('layer_pairs') or ()]


def _build_backbone(
    cfg: Mapping[str, Any], state: Mapping[str, Tensor], checkpoint: str
) -> nn.Module:
    name = str(cfg.get('type', 'none'))
    kept = {key: value for key, value in cfg.items() if key not in _ENDS}
    kept['type'] = _STOCK.get(name, name)
    found = MODELS.get(kept['type'])
    video = isinstance(found, type) and issubclass(found, VideoVisionTransformer)
    if video:
        kept['type'] = 'amd_mm.VideoVisionTransformer'
    elif not isinstance(found, type) or not issubclass(found, ImageVisionTransformer):
        raise VisualizationError(
            f'the backbone of {checkpoint} is {name}: only the ViTs of this '
            "package, of MMAction2 and of MMPretrain's VisionTransformer can "
            'be looked into'
        )
    backbone = _build(kept, f'the backbone of {checkpoint}')
    load_encoder(backbone, state, allow_missing=_CLOSING_NORMS, fmt='amd_mm', logger='silent')
    return backbone.eval()


def _build(cfg: dict[str, Any], name: str) -> Any:
    """Build what a config describes.

    Raises:
        VisualizationError: If an argument is missing or unknown.
    """
    try:
        return MODELS.build(cfg)
    except (KeyError, TypeError) as error:
        raise VisualizationError(f'{name} cannot be built: {describe_error(error)}') from None


def _normalisation(model: dict[str, Any]) -> tuple[Any, Any]:
    """Mean and deviation; without them values up to 255 stay as they are."""
    preprocessor = model.get('data_preprocessor') or {}
    if preprocessor.get('mean') is None:
        return [0.0] * 3, [1.0] * 3
    return preprocessor['mean'], preprocessor['std']
