"""A frozen backbone as an extractor of features."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from .utils import IMAGENET_MEAN, IMAGENET_STD


class Encoder(nn.Module):
    """A frozen ViT with its normalisation: from RGB pixels up to 255 to features.

    Args:
        backbone: one of ours.
        mean: of red, green and blue, for values up to 255.
        std: of red, green and blue.
        bgr: whether the backbone takes the channels as blue, green, red.
        cfg: with ``test_pipeline``, for :class:`amd_mm.inference.Model`.
    """

    backbone: Any
    mean: Tensor  # (C, 1, 1) or (C, 1, 1, 1), as is std
    std: Tensor

    def __init__(
        self,
        backbone: Any,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        bgr: bool = False,
        cfg: Config | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.bgr = bgr
        self.cfg: Any = cfg
        for name, values in (('mean', mean), ('std', std)):
            value = torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, value.view(-1, *[1] * (backbone.input_dims - 2)))
        self.requires_grad_(False).eval()

    @property
    def frames(self) -> int | None:
        """Frames of the clips that the backbone was trained with; None for images."""
        if self.backbone.input_dims == 4:
            return None
        return self.backbone.token_grid[0] * self.backbone.patch_shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that the backbone was trained with, in pixels."""
        (_, rows, columns), patch = self.backbone.token_grid, self.backbone.patch_shape
        return rows * patch[1], columns * patch[2]

    def describe(self) -> str:
        """Depth, width and attention heads."""
        backbone = self.backbone
        heads = getattr(backbone, 'num_heads', None) or backbone.arch_settings['num_heads']
        return f'{len(backbone.blocks)} blocks, {backbone.embed_dims} wide, {heads} heads'

    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the weights."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def normalise(self, pixels: Tensor) -> Tensor:
        """Values (B, C, ...) as the backbone takes them."""
        values = (pixels.float() - self.mean) / self.std
        return values.flip(1) if self.bgr else values

    def patches(self, pixels: Tensor) -> Tensor:
        """Normalised patches (B, N, P)."""
        return self.backbone.patchify(self.normalise(pixels))

    def tokens(self, pixels: Tensor) -> Tensor:
        """Tokens (B, T', H', W', C) of clips (B, C, T, H, W), T' = 1 for images (B, C, H, W).

        They are taken after the final norm, which fine-tuned video models do not have.
        """
        grid = self.backbone.grid_of(pixels)
        tokens = self.backbone.encode(self.patches(pixels), grid=grid).tokens
        return tokens[:, self.backbone.num_extra_tokens :].unflatten(1, grid)

    def pool(self, tokens: Tensor) -> Tensor:
        """Features (B, C) of a clip's tokens (B, ..., C): their mean, after any ``fc_norm``."""
        mean = tokens.flatten(1, -2).mean(1)
        return mean if self.backbone.fc_norm is None else self.backbone.fc_norm(mean)

    def features(self, values: Tensor) -> Tensor:
        """Features (B, C) of normalised values: pooled tokens; of images the backbone's output."""
        if self.frames is None:
            return self.backbone(values)[-1]
        patches = self.backbone.patchify(values)
        return self.pool(self.backbone.encode(patches, grid=self.backbone.grid_of(values)).tokens)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, C), see :meth:`features`."""
        return self.features(self.normalise(pixels))

    def layers(self, pixels: Tensor, layers: Sequence[int]) -> Tensor:
        """Tokens (B, L, T', H', W', C) after some blocks, counted from 1, without a norm."""
        grid = self.backbone.grid_of(pixels)
        wanted = sorted(set(layers))
        patches = self.patches(pixels)
        found = self.backbone.encode(patches, layers=wanted, stop_early=True, grid=grid).layers
        tokens = torch.stack([found[wanted.index(layer)] for layer in layers], 1)
        return tokens[:, :, self.backbone.num_extra_tokens :].unflatten(2, grid)

    @torch.inference_mode()
    def encode(
        self,
        pixels: Tensor,
        dtype: torch.dtype = torch.float32,
        keep_tokens: bool = False,
        layers: Sequence[int] = (),
    ) -> Tensor:
        """Compute features, or tokens, with autocast to a dtype.

        Args:
            pixels: (B, C, T, H, W), or (B, C, H, W) for images.
            dtype: of the network.
            keep_tokens: return every token (B, T', H', W', C) instead of (B, C).
            layers: return the outputs of these blocks, counted from 1, without a norm, instead of
                the last: (B, L, C), the mean over the tokens, or (B, L, T', H', W', C).

        Returns:
            On the CPU: float16 if that is the dtype, else float32.
        """
        pixels = pixels.to(self.mean.device)
        with torch.autocast(pixels.device.type, dtype, enabled=dtype != torch.float32):
            if layers:
                values = self.layers(pixels, layers).float()
            elif keep_tokens or self.frames is not None:
                values = self.tokens(pixels).float()
            else:
                values = self(pixels).float()
        if not keep_tokens:  # means over many tokens, in float32
            if layers:
                values = values.mean((2, 3, 4))
            elif self.frames is not None:
                values = self.pool(values)
        return values.to(torch.float16 if dtype == torch.float16 else torch.float32).cpu()
