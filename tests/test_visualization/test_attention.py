"""Attention distances are those of their definition."""

import csv
from pathlib import Path

import cv2
import pytest
import torch
from amd_mm.registry import MODELS
from amd_mm.visualization.attention import (
    attention_distances,
    query_key,
    token_places,
    weigh_distances,
)
from amd_mm.visualization.model_files import Encoder
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


def encoder(cfg: dict) -> Encoder:
    torch.manual_seed(0)
    built = MODELS.build(cfg)
    built.init_weights()
    for name, parameter in built.named_parameters():
        if 'qkv' in name or name.endswith('bias'):  # far from uniform
            torch.nn.init.normal_(parameter, std=0.3)
    return Encoder(built.eval(), torch.zeros(3), torch.full((3,), 255.0))


def test_uniform_attention_is_the_mean_distance() -> None:
    places = token_places(MODELS.build(backbone()))
    assert places.shape == (64, 3)
    assert places[-1].tolist() == [6, 48, 48]  # tubelets of 2, patches of 16
    nothing = torch.zeros(2, 3, 64, 5)
    mean = plain_distances(places).mean((0, 1))
    found = weigh_distances(nothing, nothing, places, block=7)
    torch.testing.assert_close(found, mean.expand(2, 3, 2))


def test_a_head_that_looks_at_itself_looks_no_way() -> None:
    places = token_places(MODELS.build(backbone()))
    itself = 1e4 * torch.eye(64).expand(1, 1, 64, 64)
    assert weigh_distances(itself, itself, places).abs().max() == 0
    # At the first token: the distance from it.
    first = torch.zeros(1, 1, 64, 1)
    first[:, :, 0] = 1e4
    one = torch.ones(1, 1, 64, 1)
    expected = plain_distances(places)[0].mean(0)
    torch.testing.assert_close(weigh_distances(one, first, places)[0, 0], expected)


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
    """Against weights that are computed as a whole, from what blocks get."""
    model = encoder(cfg)
    vit, images = model.backbone, model.backbone.input_dims == 4
    shape = (2, 3, 64, 64) if images else (2, 3, 8, 64, 64)
    inputs = torch.randint(0, 256, shape, dtype=torch.uint8)
    found = attention_distances(model, inputs)

    given = []
    hooks = [
        block.attn.register_forward_hook(lambda module, x, y: given.append((module, x[0], y)))
        for block in vit.blocks
    ]
    with torch.no_grad():
        vit.encode(vit.patchify(inputs.float() / 255))
    for hook in hooks:
        hook.remove()
    extra = vit.num_extra_tokens
    distance = plain_distances(token_places(vit))
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


def tool(*arguments: object) -> int:
    return run_tool('attention_distance', *arguments)


def test_the_tool(tmp_path: Path, tiny_videos: list, capsys: pytest.CaptureFixture) -> None:
    image = tmp_path / 'frame.png'
    cv2.imwrite(str(image), torch.randint(0, 256, (70, 90, 3)).numpy())
    video = work_folder(tmp_path / 'a', videomae())
    picture = work_folder(tmp_path / 'b', mae())
    small = work_folder(tmp_path / 'c', tinymim())
    out = tmp_path / 'new' / 'distance.png'
    call = (image, tiny_videos[0], '--device', 'cpu', '--out', out)
    models = ('--model', 'image', picture, '--model', 'video', video)
    assert tool(*call, *models, '--model', 'TinyMIM', small) == 0
    assert 'video: 2 inputs' in capsys.readouterr().out
    assert cv2.imread(str(out)).shape[1] > 800
    with out.with_suffix('.csv').open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4 * 3 + 4 * 3 + 12 * 3
    for line in lines:
        assert 0 < float(line['pixels']) < 64
        assert float(line['tokens']) == pytest.approx(float(line['pixels']) / 16)
        assert bool(line['frames']) == (line['model'] == 'video')


def test_what_is_wrong_is_said(
    tmp_path: Path, tiny_videos: list, capsys: pytest.CaptureFixture
) -> None:
    good = work_folder(tmp_path / 'a', videomae())
    picture = work_folder(tmp_path / 'b', mae())
    (picture.parent / 'last_checkpoint').unlink()
    swin = tmp_path / 'swin.py'
    swin.write_text("model = dict(backbone=dict(type='mmaction.SwinTransformer3D'), type='x')")
    bad = tmp_path / 'bad.mp4'
    bad.write_bytes(b'no video')
    video = tiny_videos[0]
    for call, said in (
        ((tmp_path / 'no.mp4', '--model', 'a', good), 'there is no video'),
        ((bad, '--model', 'a', good), f'cannot read {bad}'),
        ((swin, '--model', 'a', good), 'neither a video nor an image'),
        ((tmp_path / 'b', '--model', 'a', good), str(tmp_path / 'b')),
        ((video, '--model', 'a', tmp_path / 'no.pth'), 'There is no file'),
        ((video, '--model', 'a', good, swin), 'SwinTransformer3D'),
        ((video, '--model', 'a', good, 'no.py'), 'no config file no.py'),
        ((video, '--model', 'a', picture), 'give its config after it'),
        ((video, '--model', good), 'give NAME CHECKPOINT'),
        ((video, '--model', 'a', good, '--model', 'a', good), 'one name'),
    ):
        assert tool(*call, '--device', 'cpu', '--out', tmp_path / 'x.png') == 2
        assert said in capsys.readouterr().err
    call = (video, '--model', 'a', good, '--out', tmp_path / 'x.what')
    assert tool(*call) == 2
    said = capsys.readouterr()
    assert 'has to end in .png' in said.err and not said.out
    assert not (tmp_path / 'x.png').exists()
