import torch
import torch.nn.functional as F
from amd_mm.registry import MODELS
from torch import Tensor, nn

TARGETS = ('per_channel', 'per_patch', 'pixels')


@MODELS.register_module()
class PixelReconstructionHead(nn.Module):
    """What the decoder has to predict, and the loss.

    Predicted values are in the order (time, height, width, channel) of the
    public programs; patches come in the order of
    :func:`amd_mm.models.utils.patchify`, channel first.

    Args:
        target (str): What is predicted of a patch:

            - ``per_channel``: RGB in [0, 1], each channel of the patch brought
              to mean 0 and deviation 1: ``(x - mean) / (std + 1e-6)`` with the
              unbiased deviation (AMD, VideoMAE);
            - ``per_patch``: the normalised clip, all values of the patch
              together: ``(x - mean) / sqrt(var + 1e-6)`` (MAE);
            - ``pixels``: the normalised clip as it is (MAE without
              ``norm_pix``).
        in_channels (int): Channels of the clip.

    Raises:
        ValueError: If the target is unknown.
    """

    def __init__(self, target: str = 'per_channel', in_channels: int = 3) -> None:
        super().__init__()
        if target not in TARGETS:
            raise ValueError(f'target is one of {TARGETS}, got {target!r}')
        self.target_type = target
        self.in_channels = in_channels

    def _split(self, patches: Tensor) -> Tensor:
        """(B, K, P) -> (B, K, C, P / C), float32."""
        return patches.float().unflatten(-1, (self.in_channels, -1))

    def _to_rgb(self, values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Undo the preprocessor: (B, K, C, n) normalised -> [0, 1]."""
        return (values * std.view(-1, 1) + mean.view(-1, 1)) / 255

    def _scale(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and divisor of the target of (B, K, C, n) values."""
        if self.target_type == 'per_channel':
            var, mean = torch.var_mean(values, dim=-1, keepdim=True)
            return mean, var.sqrt() + 1e-6
        var, mean = torch.var_mean(values, dim=(-2, -1), keepdim=True)
        return mean, (var + 1e-6).sqrt()

    @torch.no_grad()
    def target(self, patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """What is to be predicted of some patches.

        Args:
            patches (Tensor): (B, K, P), of the normalised clip.
            mean (Tensor): (C,), the preprocessor's, for values up to 255.
            std (Tensor): (C,), the preprocessor's.

        Returns:
            Tensor: (B, K, P), float32.
        """
        values = self._split(patches)
        if self.target_type == 'per_channel':
            values = self._to_rgb(values, mean, std)
        if self.target_type != 'pixels':
            centre, scale = self._scale(values)
            values = (values - centre) / scale
        return values.transpose(-1, -2).flatten(-2)

    @torch.no_grad()
    def patches_to_rgb(self, patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Undo the preprocessor's normalisation, for looking at patches.

        Args:
            patches (Tensor): (B, K, P), of the normalised clip.
            mean (Tensor): (C,), the preprocessor's, for values up to 255.
            std (Tensor): (C,), the preprocessor's.

        Returns:
            Tensor: (B, K, P), float32, RGB in [0, 1], channel first.
        """
        return self._to_rgb(self._split(patches), mean, std).flatten(-2)

    @torch.no_grad()
    def to_rgb(self, prediction: Tensor, patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Turn a prediction into pixels, for looking at it.

        Normalised targets know nothing of a patch's brightness and contrast:
        these two are borrowed from the true patch.

        Args:
            prediction (Tensor): (B, K, P), from the decoder.
            patches (Tensor): (B, K, P), the true patches, normalised clip.
            mean (Tensor): (C,), the preprocessor's.
            std (Tensor): (C,), the preprocessor's.

        Returns:
            Tensor: (B, K, P) RGB in [0, 1], channel first as patches are.
        """
        values = prediction.float().unflatten(-1, (-1, self.in_channels))
        values = values.transpose(-1, -2)
        truth = self._split(patches)
        if self.target_type == 'per_channel':
            centre, scale = self._scale(self._to_rgb(truth, mean, std))
            values = values * scale + centre
        else:
            if self.target_type == 'per_patch':
                centre, scale = self._scale(truth)
                values = values * scale + centre
            values = self._to_rgb(values, mean, std)
        return values.flatten(-2).clamp(0, 1)

    def forward(self, prediction: Tensor, patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Mean squared error against :meth:`target`.

        Args:
            prediction (Tensor): (B, K, P), from the decoder.
            patches (Tensor): (B, K, P), the true patches, normalised clip.
            mean (Tensor): (C,), the preprocessor's.
            std (Tensor): (C,), the preprocessor's.

        Returns:
            Tensor: Scalar, float32, the mean over all elements.
        """
        target = self.target(patches, mean, std)
        return F.mse_loss(prediction.float(), target)
