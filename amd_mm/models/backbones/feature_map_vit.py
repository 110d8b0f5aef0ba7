from typing import Any

from amd_mm.registry import MODELS
from mmengine.logging import print_log
from torch import nn

from .video_vit import VideoVisionTransformer


@MODELS.register_module()
class FeatureMapVisionTransformer(VideoVisionTransformer):
    """The video ViT as the backbone of a detector: feature maps, normed.

    A detector pools boxes out of the token map, so every token needs a final
    norm. It is always called ``norm`` here, and where it comes from depends
    on what ``pretrained`` is:

    - a pre-training checkpoint has ``norm``, over every token: taken;
    - a fine-tuned one has ``fc_norm`` instead, learned behind the mean over
      the tokens: that becomes the map's norm. (MMAction2's ViT returns the map
      without a norm if built as a recogniser, and starts a fresh one else.)

    The log says which it was. A file with neither is an error.

    ``forward`` gives (B, embed_dims, T', H', W') of a clip (B, C, T, H, W),
    whose H and W may be any multiple of the patch. The norm makes it float32
    also under autocast, which ``mmcv.ops.RoIAlign`` needs: it does not compute
    in bfloat16.

    Args:
        **vit: What :class:`VideoVisionTransformer` takes, except
            ``use_mean_pooling`` (False here) and ``return_feat_map`` (True).
            Unknown names are an error.
    """

    def __init__(self, **vit: Any) -> None:
        super().__init__(use_mean_pooling=False, return_feat_map=True, **vit)

    def init_weights(self) -> None:
        """Initialise, then load ``pretrained`` and choose the map's norm.

        Raises:
            CheckpointError: From the strict loader.
        """
        path = self.pretrained or None
        fine_tuned = path is not None and self._is_fine_tuned(path)
        if fine_tuned:
            # For the loader it is a recogniser's backbone.
            self.norm, self.fc_norm = nn.Identity(), self.norm
        try:
            super().init_weights()
        finally:
            if fine_tuned:
                self.norm, self.fc_norm = self.get_submodule('fc_norm'), None
        if self.pretrained:
            print_log(
                f"The feature map's norm is {self.pretrained}'s "
                + (
                    'fc_norm: the checkpoint is fine-tuned'
                    if fine_tuned
                    else 'norm: the checkpoint is pre-trained'
                ),
                logger='current',
            )

    def _is_fine_tuned(self, path: str) -> bool:
        from amd_mm.checkpoints import read_checkpoint, unwrap

        prefix = self._pretrained_prefix or ''
        return any(
            name.startswith(prefix) and name.endswith('fc_norm.weight')
            for name in unwrap(read_checkpoint(path))
        )
