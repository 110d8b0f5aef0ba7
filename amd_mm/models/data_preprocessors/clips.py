from collections.abc import Sequence

import torch
from amd_mm.registry import MODELS
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.utils import SampleList
from torch import Tensor


@MODELS.register_module()
class ClipPreprocessor(ActionDataPreprocessor):
    """Clips of one size, to the device as uint8 and normalised there.

    The values are those of MMAction2's preprocessor. The copy to the device
    does not make the host wait if the loader pins its memory
    (``pin_memory=True``), and a batch that comes as one tensor
    (:func:`amd_mm.datasets.one_tensor_collate`) is not copied once more.

    Args:
        mean (Sequence[float]): Mean of each channel, for values up to 255.
        std (Sequence[float]): Standard deviation of each channel.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(mean=mean, std=std, format_shape='NCTHW')
        self._non_blocking = True

    def preprocess(
        self, inputs: Sequence[Tensor], data_samples: SampleList, training: bool = False
    ) -> tuple[Tensor, SampleList]:
        """Stack and normalise.

        Args:
            inputs (Sequence[Tensor]): Clips (V, C, T, H, W) of one size, or
                a single (B, C, T, H, W).
            data_samples (SampleList): Not changed.
            training (bool): Not used.

        Returns:
            tuple: (B, V, C, T, H, W), or (B, C, T, H, W) of a single tensor,
            float32, and the samples.

        Raises:
            ValueError: If the clips differ in size.
        """
        shapes = {tuple(clip.shape) for clip in inputs}
        if len(shapes) > 1:
            raise ValueError(
                'the clips of a batch have to be of one size, and these are '
                f'of {" and ".join(map(str, sorted(shapes)))}: let the '
                "pipeline crop or resize to the backbone's img_size"
            )
        clips = inputs[0] if len(inputs) == 1 else torch.stack(list(inputs))
        return clips.sub(self.mean).div_(self.std), data_samples
