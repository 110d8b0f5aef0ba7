from amd_mm.registry import MODELS
from mmaction.utils import InstanceList, SampleList
from torch import Tensor

try:
    # Not from the package, which swallows the error.
    from mmaction.models.roi_heads.roi_head import AVARoIHead
except ImportError as error:
    _missing = error

    class AVARoIHead:  # type: ignore[no-redef]
        """Says what is missing when it is built."""

        def __init__(self, **kwargs: object) -> None:
            raise ImportError(
                'action detection needs mmdet and an mmcv with compiled ops '
                f'({_missing}). Install both with tools/install.sh, or see '
                'requirements/detection.txt'
            ) from _missing


@MODELS.register_module()
class BatchedAVARoIHead(AVARoIHead):
    """MMAction2's ``AVARoIHead`` that can be tested with any batch size.

    The original asserts a batch of one, though all that follows is made for
    several. Clips of one frame size give the same scores in any batch. If
    their sizes differ, the smaller are padded, and a ViT sees the padding: the
    scores change a little. One clip at a time is exact then.
    """

    def predict(
        self,
        x: Tensor | tuple[Tensor],
        rpn_results_list: InstanceList,
        data_samples: SampleList,
        rescale: bool = True,
    ) -> InstanceList:
        """Score the boxes of each clip.

        Args:
            x (Tensor | Tuple[Tensor]): Feature maps (B, C, T, H, W).
            rpn_results_list (InstanceList): Each clip's ``bboxes`` (N, 4), in
                pixels.
            data_samples (SampleList): With ``img_shape`` (H, W).
            rescale (bool): Handed on by mmdet, without a meaning here: boxes
                are shares of the frame.

        Returns:
            InstanceList: Each clip's ``bboxes`` (N, 4) as shares of the frame
            and ``scores`` (N, num_classes).
        """
        metas: list[dict] = [sample.metainfo for sample in data_samples]
        return self.predict_bbox(x, metas, rpn_results_list, rcnn_test_cfg=self.test_cfg)
