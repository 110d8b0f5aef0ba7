import torch
from amd_mm.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor


@MODELS.register_module()
class FrozenClassifier(BaseModule):
    """A frozen, fine-tuned classifier whose predictions a student learns.

    It is read from a checkpoint of any known format (fine-tuned by MAE's
    authors, MMPretrain, ours) by the strict loader.

    Args:
        classifier (dict): Config of an ``mmpretrain.ImageClassifier``.
        checkpoint (str, optional): File of its weights.
        random_init (bool): Distil from random weights, for tests.

    Raises:
        ValueError: Without a checkpoint unless ``random_init``, or with both.
    """

    def __init__(
        self, classifier: dict, checkpoint: str | None = None, random_init: bool = False
    ) -> None:
        super().__init__()
        if (checkpoint is None) != random_init:
            raise ValueError(
                'the teacher needs weights: give teacher=dict(checkpoint='
                "'FILE'), a fine-tuned classifier. (random_init=True "
                'instead, for tests, distils from noise.) Got '
                f'checkpoint={checkpoint!r}, random_init={random_init}'
            )
        self.classifier = MODELS.build(classifier)
        if checkpoint is None:
            self.classifier.init_weights()
        else:
            from amd_mm.checkpoints import load_into

            load_into(self.classifier, checkpoint)
        self.requires_grad_(False)
        self.eval()

    @property
    def num_classes(self) -> int:
        """Classes that it tells apart."""
        return self.classifier.head.num_classes

    def init_weights(self) -> None:
        """Do nothing: the weights are there since construction."""

    def train(self, mode: bool = True) -> 'FrozenClassifier':
        """Stay in evaluation mode whatever the student does."""
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> 'FrozenClassifier':
        """Stay one: copies of the student (EMA) share their teacher."""
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes), float32, of normalised images (B, C, H, W)."""
        return self.classifier(images, mode='tensor').float()
