"""RoIAlign and NMS without MMCV's compiled operators give the results of the compiled ones."""

import pytest
import torch
import torch._dynamo
from amd_mm import mmcv_operators  # first: its fixes serve torchvision
from torch import Tensor

import torchvision  # isort: skip


def boxes_and_scores(count: int, seed: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    corners = torch.rand(count, 2) * 90
    return torch.cat([corners, corners + 5 + torch.rand(count, 2) * 60], 1), torch.rand(count)


def roi_align(operators: object, maps: Tensor, rois: Tensor, **other: object) -> list[Tensor]:
    """Output, and gradient of its weighted sum."""
    options = dict(aligned_height=8, aligned_width=7, spatial_scale=1 / 16, pool_mode=1)
    options.update(other)
    output = torch.zeros(len(rois), maps.shape[1], 8, 7)
    empty = torch.zeros(0)
    operators.roi_align_forward(maps, rois, output, empty, empty, **options)
    weight, gradient = torch.linspace(-1, 1, output.numel()).view_as(output), maps * 0
    operators.roi_align_backward(weight, rois, empty, empty, gradient, **options)
    return [output, gradient]


@pytest.mark.parametrize('sampling_ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_is_that_of_mmcv(aligned: bool, sampling_ratio: int) -> None:
    compiled = pytest.importorskip('mmcv._ext', reason='mmcv is not compiled')
    if compiled is mmcv_operators:
        pytest.skip('mmcv is not compiled')
    boxes, _ = boxes_and_scores(9, seed=0)
    boxes[7] -= 60  # partly outside
    boxes[8, 2:] = boxes[8, :2]  # without extent
    rois = torch.cat([torch.arange(9.0)[:, None] % 2, boxes], 1)
    maps = torch.randn(2, 5, 12, 9)
    options = dict(aligned=aligned, sampling_ratio=sampling_ratio)
    found = roi_align(mmcv_operators, maps, rois, **options)
    expected = roi_align(compiled, maps, rois, **options)
    torch.testing.assert_close(found[0], expected[0], atol=4e-6, rtol=0)
    torch.testing.assert_close(found[1], expected[1], atol=4e-5, rtol=1e-5)


@pytest.mark.parametrize('sampling_ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_by_hand_is_that_of_torchvision(
    monkeypatch: pytest.MonkeyPatch, aligned: bool, sampling_ratio: int
) -> None:
    monkeypatch.setattr(torchvision.extension, '_has_ops', lambda: False)
    rois = torch.cat([torch.arange(7.0)[:, None] % 2, boxes_and_scores(7, seed=2)[0]], 1)
    maps = torch.randn(2, 5, 12, 12)
    options = ((8, 7), 1 / 16, sampling_ratio, aligned)
    found = mmcv_operators._roi_align(maps, rois, *options)
    with torch._dynamo.config.patch(disable=True):
        expected = torchvision.ops.roi_align(maps, rois, *options)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert mmcv_operators._roi_align(maps, rois[:0], *options).shape == (0, 5, 8, 7)


@pytest.mark.parametrize('offset', [0, 1])
def test_nms_is_that_of_mmcv(offset: int) -> None:
    compiled = pytest.importorskip('mmcv._ext', reason='mmcv is not compiled')
    if compiled is mmcv_operators:
        pytest.skip('mmcv is not compiled')
    boxes, scores = boxes_and_scores(60, seed=1)
    options = dict(iou_threshold=0.4, offset=offset)
    found = mmcv_operators.nms(boxes, scores, **options)
    assert torch.equal(found, compiled.nms(boxes, scores, **options))
    assert 5 < len(found) < 55


@pytest.mark.parametrize('library', [True, False])
def test_nms_by_hand(monkeypatch: pytest.MonkeyPatch, library: bool) -> None:
    if library and not torchvision.extension._has_ops():
        pytest.skip("torchvision's C++ library does not load")
    monkeypatch.setattr(torchvision.extension, '_has_ops', lambda: library)
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [0, 0, 10, 6]])
    scores = torch.tensor([0.5, 0.9, 0.1, 0.8])
    for threshold, kept in ((0.6, [1, 3, 2]), (0.4, [1, 2]), (0.95, [1, 3, 0, 2])):
        found = mmcv_operators.nms(boxes, scores, iou_threshold=threshold, offset=0)
        assert found.tolist() == kept
    assert mmcv_operators.nms(boxes[:0], scores[:0], iou_threshold=0.5, offset=0).tolist() == []


def test_other_operators_name_the_remedy() -> None:
    with pytest.raises(NotImplementedError, match=r'softnms .*--compile-mmcv'):
        mmcv_operators.softnms(torch.zeros(1, 4))
    with pytest.raises(NotImplementedError, match='max'):
        roi_align(
            mmcv_operators,
            torch.zeros(1, 1, 4, 4),
            torch.zeros(1, 5),
            **dict(pool_mode=0, aligned=True, sampling_ratio=0),
        )
