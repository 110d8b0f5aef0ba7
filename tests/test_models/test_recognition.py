"""MMAction2's recognisers with the video backbone."""

import pytest
import torch
from mmaction.structures import ActionDataSample

from tests.tiny import backbone, batch, build, preprocessor


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_stock_head_trains_under_autocast(dtype):
    """Without mixup the host's head converts the scores to NumPy, which has no bfloat16."""
    recogniser = build(
        dict(
            type='mmaction.Recognizer3D',
            data_preprocessor=preprocessor(),
            backbone=dict(backbone(), use_mean_pooling=True),
            cls_head=dict(type='mmaction.TimeSformerHead', num_classes=3, in_channels=48),
        )
    )
    samples = [ActionDataSample().set_gt_label(label) for label in (0, 2)]
    data = recogniser.data_preprocessor(dict(batch(), data_samples=samples), True)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        scores = recogniser.cls_head(recogniser.backbone(data['inputs'].flatten(0, 1)))
        losses = recogniser(**data, mode='loss')
    assert scores.dtype == dtype
    assert losses['loss_cls'].dtype == torch.float32
    expected = torch.nn.functional.cross_entropy(scores.float(), torch.tensor([0, 2]))
    torch.testing.assert_close(losses['loss_cls'], expected)
    assert losses['top1_acc'] == (scores.argmax(1) == torch.tensor([0, 2])).float().mean()
    losses['loss_cls'].backward()
    assert all(parameter.grad is not None for parameter in recogniser.parameters())
