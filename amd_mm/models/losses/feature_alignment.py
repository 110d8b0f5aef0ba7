import torch.nn.functional as F
from amd_mm.registry import MODELS
from torch import Tensor, nn

_DISTANCES = dict(l2=F.mse_loss, l1=F.l1_loss, smooth_l1=F.smooth_l1_loss)


@MODELS.register_module()
class FeatureAlignmentLoss(nn.Module):
    """Distance of predicted features from a teacher's, AMD equations 5 and 6.

    Both sides meet in float32 and the mean is over all elements.

    Args:
        distance (str): ``l2`` (AMD), ``l1`` (DMAE) or ``smooth_l1``.
        normalize (bool): Bring both sides to unit length over the channels
            first (DMAE as released).

    Raises:
        ValueError: If the distance is unknown.
    """

    def __init__(self, distance: str = 'l2', normalize: bool = False) -> None:
        super().__init__()
        if distance not in _DISTANCES:
            raise ValueError(f'distance is one of {list(_DISTANCES)}, got {distance!r}')
        self.distance = distance
        self.normalize = normalize

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare.

        Args:
            prediction (Tensor): (B, K, C).
            target (Tensor): (B, K, C), without gradient.

        Returns:
            Tensor: Scalar, float32.
        """
        prediction, target = prediction.float(), target.float()
        if self.normalize:
            prediction = F.normalize(prediction, dim=-1, eps=1e-12)
            target = F.normalize(target, dim=-1, eps=1e-12)
        return _DISTANCES[self.distance](prediction, target)

    def extra_repr(self) -> str:
        """The settings, as ``print(model)`` shows them."""
        return f'distance={self.distance}, normalize={self.normalize}'
