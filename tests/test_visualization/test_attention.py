"""Attention distances follow their definition."""

import csv
from pathlib import Path

import cv2
import pytest
import torch
from amd_mm.registry import MODELS
from amd_mm.visualization.attention import (
    attention_distances,
    patch_places,
    query_key,
    weighted_distances,
)
from mmaction.models.backbones.vit_mae import Attention
from torch import Tensor

from ..tiny import backbone, videomae
from ..tiny_image import image_backbone, mae
from ..tiny_tinymim import tinymim
from .checkpoints import work_folder
from .visualize_tools import run_tool


def plain_distances(places: Tensor) -> Tensor:
    """(N, N, 2), one pair after the other."""
    count = len(places)
    made = torch.zeros(count, count, 2)
    for one in range(count):
        for other in range(count):
            frames, rows, columns = (places[one] - places[other]).tolist()
            made[one, other, 0] = (rows**2 + columns**2) ** 0.5
            made[one, other, 1] = abs(frames)
    return made


def test_uniform_attention_has_the_mean_distance() -> None:
    places = patch_places(MODELS.build(backbone()))
    assert places.shape == (64, 3)
    assert places[-1].tolist() == [6, 48, 48]  # tubelets of 2, patches of 16
    nothing = torch.zeros(2, 3, 64, 5)
    mean = plain_distances(places).mean((0, 1))
    found = weighted_distances(nothing, nothing, places, chunk=7)
    torch.testing.assert_close(found, mean.expand(2, 3, 2))


def test_attention_to_itself_and_to_one_token() -> None:
    places = patch_places(MODELS.build(backbone()))
    itself = 1e4 * torch.eye(64).expand(1, 1, 64, 64)
    assert weighted_distances(itself, itself, places).abs().max() == 0
    first = torch.zeros(1, 1, 64, 1)
    first[:, :, 0] = 1e4
    expected = plain_distances(places)[0].mean(0)
    found = weighted_distances(torch.ones(1, 1, 64, 1), first, places)
    torch.testing.assert_close(found[0, 0], expected)


@pytest.mark.parametrize(
    'cfg',
    [
        backbone(),
        backbone(fused_attention=False, qk_scale=0.3),
        image_backbone(),
        image_backbone(with_cls_token=False, out_type='avg_featmap'),
    ],
    ids=['video', 'video, stock attention', 'image', 'no class token'],
)
def test_equals_the_whole_matrix(cfg: dict) -> None:
    """Against weights computed as a whole, from the blocks' inputs."""
    torch.manual_seed(0)
    vit = MODELS.build(cfg).eval()
    vit.init_weights()
    for name, parameter in vit.named_parameters():
        if 'qkv' in name or name.endswith('bias'):  # far from uniform
            torch.nn.init.normal_(parameter, std=0.3)
    images = vit.input_dims == 4
    inputs = torch.rand((2, 3, 64, 64) if images else (2, 3, 8, 64, 64))
    found = attention_distances(vit, inputs)

    given = []
    hooks = [
        block.attn.register_forward_hook(lambda module, x, y: given.append((module, x[0], y)))
        for block in vit.blocks
    ]
    with torch.no_grad():
        vit.encode(vit.patchify(inputs))
    for hook in hooks:
        hook.remove()
    extra = vit.num_extra_tokens
    distance = plain_distances(patch_places(vit))
    for number, (module, tokens, output) in enumerate(given):
        query, key = query_key(module, tokens)
        whole = (query @ key.transpose(-1, -2)).softmax(-1)
        # These are the weights that the block itself attends with.
        value = torch.nn.functional.linear(
            tokens,
            module.qkv.weight[2 * vit.embed_dims :],
            module.v_bias
            if isinstance(module, Attention)
            else module.qkv.bias[2 * vit.embed_dims :],
        ).unflatten(-1, (module.num_heads, -1))
        mixed = (whole @ value.transpose(1, 2)).transpose(1, 2).flatten(2)
        torch.testing.assert_close(module.proj(mixed), output, atol=1e-4, rtol=1e-4)
        weights = whole[:, :, extra:, extra:]
        weights = weights / weights.sum(-1, keepdim=True)
        expected = torch.einsum('bhqk,qkd->hd', weights, distance)
        expected /= len(inputs) * len(distance)
        close = dict(rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.space[number], expected[:, 0], **close)
        if images:
            assert found.time is None
        else:
            torch.testing.assert_close(found.time[number], expected[:, 1], **close)
    assert found.space.std() > 0.1  # or there would be nothing to compare


def test_the_tool(tmp_path: Path, tiny_videos: list, capsys: pytest.CaptureFixture) -> None:
    image = tmp_path / 'frame.png'
    cv2.imwrite(str(image), torch.randint(0, 256, (70, 90, 3)).numpy())
    models = []
    for name, cfg in (('image', mae()), ('video', videomae()), ('TinyMIM', tinymim())):
        models += ['--model', name, work_folder(tmp_path / name, cfg)]
    out = tmp_path / 'new' / 'distance.png'
    call = (image, tiny_videos[0], '--device', 'cpu', '--out', out)
    assert run_tool('attention_distance', *call, *models) == 0
    assert 'video: 2 inputs' in capsys.readouterr().out
    assert cv2.imread(str(out)).shape[1] > 800
    with out.with_suffix('.csv').open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4 * 3 + 4 * 3 + 12 * 3
    for line in lines:
        assert 0 < float(line['pixels']) < 64
        assert float(line['tokens']) == pytest.approx(float(line['pixels']) / 16)
        assert bool(line['frames']) == (line['model'] == 'video')


def test_errors(tmp_path: Path, tiny_videos: list, capsys: pytest.CaptureFixture) -> None:
    good = work_folder(tmp_path / 'a', videomae())
    swin = tmp_path / 'swin.py'
    swin.write_text("model = dict(backbone=dict(type='mmaction.SwinTransformer3D'), type='x')")
    bad = tmp_path / 'bad.mp4'
    bad.write_bytes(b'no video')
    video, x = tiny_videos[0], tmp_path / 'x.png'
    for call, said in (
        ((tmp_path / 'no.mp4', '--model', 'a', good, '--out', x), 'there is no video'),
        ((bad, '--model', 'a', good, '--out', x), str(bad)),
        ((swin, '--model', 'a', good, '--out', x), 'neither a video nor an image'),
        ((tmp_path / 'a', '--model', 'a', good, '--out', x), str(tmp_path / 'a')),
        ((video, '--model', 'a', good, swin, '--out', x), 'SwinTransformer3D'),
        ((video, '--model', good, '--out', x), 'give NAME CHECKPOINT'),
        ((video, *('--model', 'a', good) * 2, '--out', x), 'the same name'),
        ((video, '--model', 'a', good, '--out', tmp_path / 'x.what'), 'has to end in one of .png'),
    ):
        assert run_tool('attention_distance', *call, '--device', 'cpu') == 1
        assert said in capsys.readouterr().err
    assert not x.exists()
