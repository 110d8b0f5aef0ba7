"""A trained model as one function: from pixels to scores or features."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from amd_mm.apis import Encoder, encoder_of, load_encoder, load_model, normalisation_of
from amd_mm.errors import ConfigError
from mmaction.models.recognizers import Recognizer3D
from mmengine.config import Config
from torch import Tensor, nn

INPUTS = ('uint8', 'normalised')


class PortableModel(nn.Module):
    """A trained model with one input and one output, which ``torch.export`` can trace.

    Args:
        core: the model, registered here.
        run: from normalised pixels to (B, ...).
        size: of one input: (C, T, H, W) of a clip, (C, H, W) of an image.
        output: the name of the output: ``logits`` or ``features``.
        mean: of red, green and blue, for values up to 255; by default the model takes pixels as
            they are.
        std: of red, green and blue.
        bgr: the model takes blue, green, red.
        takes: ``uint8`` (pixels, normalised inside) or ``normalised`` (float32, normalised by the
            caller).
    """

    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        core: nn.Module,
        run: Callable[[Tensor], Tensor],
        size: Sequence[int],
        output: str,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr: bool = False,
        takes: str = 'uint8',
    ) -> None:
        super().__init__()
        if takes not in INPUTS:
            raise ConfigError(f'the input must be one of {INPUTS}, not {takes!r}')
        self.core = core
        self.run = run
        self.size = tuple(size)
        self.output = output
        self.bgr = bgr
        self.takes = takes
        self.mean = list(mean or [0.0] * self.size[0])
        self.std = list(std or [1.0] * self.size[0])
        if {len(self.mean), len(self.std)} != {self.size[0]}:
            raise ConfigError(
                f'mean {self.mean} and std {self.std} of the data_preprocessor do not fit '
                f'{self.size[0]} channels'
            )
        for name, values in (('_mean', self.mean), ('_std', self.std)):
            value = torch.tensor(values).view(-1, *[1] * (len(self.size) - 1))
            self.register_buffer(name, value, persistent=False)
        self.requires_grad_(False).eval()

    @property
    def input(self) -> str:
        """The name of the input."""
        return 'clip' if len(self.size) == 4 else 'image'

    @property
    def dtype(self) -> torch.dtype:
        """Type of the input's values."""
        return torch.uint8 if self.takes == 'uint8' else torch.float32

    def example(self, batch: int, seed: int = 0) -> Tensor:
        """Noise of the input's shape and type: (batch, *size)."""
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(256, (batch, *self.size), dtype=torch.uint8, generator=generator)
        return pixels if self.takes == 'uint8' else self.normalise(pixels)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Values of uint8 pixels as the backbone takes them, but RGB."""
        return (pixels.float() - self._mean) / self._std

    @torch.no_grad()
    def num_outputs(self) -> int:
        """Number of classes, or width of a feature."""
        return self(self.example(1)).shape[-1]

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores (B, classes) or features (B, width) of RGB clips or images."""
        values = pixels
        if self.takes == 'uint8':
            values = self.normalise(pixels)
        return self.run(values.flip(1) if self.bgr else values)


def portable_classifier(cfg: Config, checkpoint: str, takes: str = 'uint8') -> PortableModel:
    """A fine-tuned or probed model, from pixels to logits; a clip is one view.

    Args:
        cfg: of recognition or image classification.
        checkpoint: see :func:`amd_mm.checkpoints.read_checkpoint`.
        takes: see :class:`PortableModel`.

    Raises:
        ConfigError: if the config is of another task or backbone.
        CheckpointError: if the checkpoint does not fit.
    """
    model_cfg = cfg.get('model') or {}
    head = model_cfg.get('cls_head') or model_cfg.get('head') or {}
    if not head.get('num_classes'):
        raise ConfigError(
            f'{cfg.filename} is of {model_cfg.get("type")}, not of a classifier: give the config '
            'and the checkpoint of a fine-tuned one, or export the encoder alone (--features)'
        )
    model: Any = load_model((cfg, checkpoint))

    def score_clips(clips: Tensor) -> Tensor:
        features, _ = model.extract_feat(clips.unsqueeze(1), test_mode=True)
        return model.cls_head(features)

    run = score_clips if isinstance(model, Recognizer3D) else model
    return _portable(model, run, encoder_of(model), model_cfg, 'logits', takes)


def portable_encoder(cfg: Config, checkpoint: str, takes: str = 'uint8') -> PortableModel:
    """The backbone of a model of any task, from pixels to features: ``Encoder.forward``.

    Args:
        cfg: of pre-training, recognition, detection or image classification.
        checkpoint: see :func:`amd_mm.checkpoints.read_checkpoint`.
        takes: see :class:`PortableModel`.

    Raises:
        ConfigError: if the config has no ViT.
        CheckpointError: if the checkpoint does not fit.
    """
    encoder = load_encoder((cfg, checkpoint))
    return _portable(encoder.backbone, encoder.features, encoder, cfg.model, 'features', takes)


def _portable(
    core: nn.Module,
    run: Callable[[Tensor], Tensor],
    encoder: Encoder,
    model_cfg: Any,
    output: str,
    takes: str,
) -> PortableModel:
    clip = () if encoder.frames is None else (encoder.frames,)
    return PortableModel(
        core,
        run,
        (encoder.backbone.in_channels, *clip, *encoder.size),
        output,
        **normalisation_of(model_cfg, images=encoder.frames is None),
        takes=takes,
    )
