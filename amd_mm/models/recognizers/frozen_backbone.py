from amd_mm.registry import MODELS
from mmaction.models import Recognizer3D


@MODELS.register_module()
class FrozenBackboneRecognizer(Recognizer3D):
    """A recogniser that trains its head only.

    The backbone is in evaluation mode always (no dropout, no stochastic
    depth), has no gradients, and stores no activations for them. For the
    optimiser to leave it out altogether, build it with
    ``amd_mm.TrainableOnlyConstructor``.

    Args:
        backbone (dict): Any backbone; give it ``pretrained`` weights.
        cls_head (dict): What is trained, e.g. ``amd_mm.LinearProbeHead``.
        test_cfg (dict, optional): As in ``mmaction.Recognizer3D``.
        data_preprocessor (dict, optional): As in ``mmaction.Recognizer3D``.
    """

    def __init__(
        self,
        backbone: dict,
        cls_head: dict,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(backbone, cls_head, test_cfg=test_cfg, data_preprocessor=data_preprocessor)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> 'FrozenBackboneRecognizer':
        """Set the head's mode; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self
