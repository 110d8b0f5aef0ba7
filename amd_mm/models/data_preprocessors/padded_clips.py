from collections.abc import Sequence

from amd_mm.registry import MODELS
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.utils import SampleList
from torch import Tensor


@MODELS.register_module()
class PaddedClipPreprocessor(ActionDataPreprocessor):
    """Clips of any frame size in one batch, in whole patches.

    MMAction2's preprocessor pads the smaller clips of a batch with black, and
    its ViT drops rows and columns that do not fill a patch. Here frames are
    padded at the right and at the bottom to the largest of the batch, and to
    a multiple of ``size_divisor``, with the mean colour: zeros after
    normalisation. Boxes keep their pixels, and ``img_shape`` of a sample is
    that of its own frames.

    Args:
        mean (Sequence[float]): Mean of each channel.
        std (Sequence[float]): Standard deviation of each channel.
        size_divisor (int): Height and width become multiples of it: the
            backbone's ``patch_size``. Defaults to 16.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], size_divisor: int = 16) -> None:
        super().__init__(mean=mean, std=std, format_shape='NCTHW')
        self.size_divisor = size_divisor

    def preprocess(
        self, inputs: list[Tensor], data_samples: SampleList, training: bool = False
    ) -> tuple[Tensor, SampleList]:
        """Pad, stack and normalise.

        Args:
            inputs (List[Tensor]): Clips (C, T, H, W) of one length T.
            data_samples (SampleList): Not changed.
            training (bool): Not used.

        Returns:
            tuple: (B, C, T, H', W'), float32, and the samples.
        """
        height, width = (self._ceil(max(clip.shape[axis] for clip in inputs)) for axis in (2, 3))
        return super().preprocess(
            [self._pad(clip, height, width) for clip in inputs], data_samples, training
        )

    def _ceil(self, size: int) -> int:
        return -(-size // self.size_divisor) * self.size_divisor

    def _pad(self, clip: Tensor, height: int, width: int) -> Tensor:
        canvas = self.mean.expand(-1, clip.shape[1], height, width).clone()
        canvas[:, :, : clip.shape[2], : clip.shape[3]] = clip
        return canvas
