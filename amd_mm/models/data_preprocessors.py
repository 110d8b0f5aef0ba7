from collections.abc import Sequence

import torch
from amd_mm.registry import MODELS
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.utils import SampleList
from torch import Tensor


@MODELS.register_module()
class ClipPreprocessor(ActionDataPreprocessor):
    """Copies uint8 clips of one size to the device and normalises them there.

    The values are those of MMAction2's preprocessor. The copy does not block if the loader pins its
    memory, and a batch that is already one tensor is not copied again.

    Args:
        mean: Mean of each channel, for values up to 255.
        std: Standard deviation of each channel.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(mean=mean, std=std, format_shape='NCTHW')
        self._non_blocking = True

    def preprocess(
        self, inputs: Sequence[Tensor], data_samples: SampleList, training: bool = False
    ) -> tuple[Tensor, SampleList]:
        """Stack and normalise.

        Several clips (V, C, T, H, W) become (B, V, C, T, H, W). A batch that is one tensor
        (B, C, T, H, W) keeps its shape.

        Raises:
            ValueError: If the clips differ in size.
        """
        shapes = sorted({tuple(clip.shape) for clip in inputs})
        if len(shapes) > 1:
            raise ValueError(
                f'the clips of a batch must have one size, got {" and ".join(map(str, shapes))}: '
                "let the pipeline crop or resize to the backbone's img_size"
            )
        clips = inputs[0] if len(inputs) == 1 else torch.stack(list(inputs))
        return clips.sub(self.mean).div_(self.std), data_samples


@MODELS.register_module()
class PaddedClipPreprocessor(ActionDataPreprocessor):
    """Pads clips of different frame sizes to one size, a multiple of the patch.

    MMAction2's preprocessor pads with black, and its ViT drops rows and columns that do not fill a
    patch. This one pads at the right and at the bottom with the mean colour. Boxes and
    ``img_shape`` stay as they are.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        size_divisor: Height and width become multiples of it: the backbone's ``patch_size``.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], size_divisor: int = 16) -> None:
        super().__init__(mean=mean, std=std, format_shape='NCTHW')
        self.size_divisor = size_divisor

    def preprocess(
        self, inputs: list[Tensor], data_samples: SampleList, training: bool = False
    ) -> tuple[Tensor, SampleList]:
        """Pad, stack and normalise clips (C, T, H, W) of one length: -> (B, C, T, H', W')."""
        divisor = self.size_divisor
        height, width = (
            -(-max(clip.shape[axis] for clip in inputs) // divisor) * divisor for axis in (2, 3)
        )
        padded = []
        for clip in inputs:
            canvas = self.mean.expand(-1, clip.shape[1], height, width).clone()
            canvas[:, :, : clip.shape[2], : clip.shape[3]] = clip
            padded.append(canvas)
        return super().preprocess(padded, data_samples, training)
