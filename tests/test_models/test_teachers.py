"""Frozen teachers: weights, layers, precision, and how a model keeps its teacher."""

import copy
from pathlib import Path

import pytest
import torch
from amd_mm.errors import CheckpointError
from amd_mm.models import teachers
from amd_mm.models.utils import supports_fast_bf16
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper

from tests.tiny import amd, backbone, batch, build, videomae


def teacher_state(model):
    return copy.deepcopy(model.teacher.backbone.state_dict())


def patches_and_ids(model):
    patches = model.patches_of(torch.randn(2, 3, 8, 64, 64))
    return patches, model.draw_partition(patches).teacher


def test_teacher_is_unchanged_by_init_and_training():
    model = build(amd())
    before = teacher_state(model)
    model.init_weights()
    model.train()
    optim = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    for _ in range(2):
        model.train_step(batch(), optim)
    torch.testing.assert_close(teacher_state(model), before, rtol=0, atol=0)
    assert not any(module.training for module in model.teacher.modules())


def test_teacher_is_not_part_of_the_model():
    model = build(amd())
    names = set(model.state_dict()) | dict(model.named_parameters()).keys()
    names |= dict(model.named_modules()).keys()
    assert not any('teacher' in name for name in names)
    average = ExponentialMovingAverage(model)
    assert average.module.teacher is model.teacher
    assert average.module.backbone is not model.backbone
    assert not any('teacher' in name for name in average.state_dict())


def test_teacher_moves_with_the_model():
    model = build(amd()).double()
    assert model.teacher.backbone.pos_embed.dtype == torch.float64
    model.to('meta')
    assert model.teacher.backbone.pos_embed.device.type == 'meta'


def test_standardized_features():
    """Predicting the mean costs 1, and the order of the values in a channel is the same."""
    plain = build(amd())
    other = build(amd())
    other.teacher.load_state_dict(plain.teacher.state_dict())
    other.teacher.standardize = True
    patches, token_ids = patches_and_ids(plain)
    for before, after in zip(plain.teacher(patches, token_ids), other.teacher(patches, token_ids)):
        torch.testing.assert_close(after.mean((0, 1)), torch.zeros(after.shape[-1]))
        torch.testing.assert_close(
            after.var((0, 1)), torch.ones(after.shape[-1]), atol=1e-3, rtol=0
        )
        values = torch.stack([before[..., 5].flatten(), after[..., 5].flatten()])
        assert torch.corrcoef(values)[0, 1] > 0.9999


def test_teacher_stops_at_its_last_layer():
    full, short = build(amd()), build(amd(layer_pairs=[(2, 3)]))
    assert short.teacher.backbone.depth == 3
    kept = short.teacher.backbone.state_dict().keys()
    state = {name: value for name, value in teacher_state(full).items() if name in kept}
    short.teacher.backbone.load_state_dict(state)
    inputs = patches_and_ids(full)
    assert torch.equal(short.teacher(*inputs)[0], full.teacher(*inputs)[0])


def test_bfloat16_teacher_is_close_and_half_the_size(monkeypatch):
    monkeypatch.setattr(teachers, 'supports_fast_bf16', lambda device: True)
    exact, cfg = build(amd()), amd()
    cfg['teacher']['dtype'] = 'bfloat16'
    rounded = build(cfg)
    rounded.teacher.backbone.load_state_dict(teacher_state(exact))
    inputs = patches_and_ids(exact)
    for value, expected in zip(rounded.teacher(*inputs), exact.teacher(*inputs)):
        assert value.dtype == torch.float32
        assert 0 < (value - expected).norm() / expected.norm() < 0.02
    assert rounded.teacher.backbone.blocks[0].mlp.layers[1].weight.dtype == torch.bfloat16


def test_teacher_runs_in_float32_where_bfloat16_is_slow(monkeypatch):
    logged = []
    monkeypatch.setattr(teachers, 'supports_fast_bf16', lambda device: False)
    monkeypatch.setattr(teachers, 'print_log', lambda text, logger: logged.append(text))
    cfg = amd()
    cfg['teacher']['dtype'] = 'bfloat16'
    model = build(cfg)
    assert {value.dtype for value in teacher_state(model).values()} == {torch.float32}
    assert len(logged) == 1 and 'teacher runs in float32' in logged[0]


@pytest.mark.parametrize(
    'flags, fast',
    [('avx2 avx512f avx512_bf16', True), ('amx_bf16', True), ('asimd bf16', True), ('avx2', False)],
)
def test_bfloat16_units_of_a_cpu(flags, fast, monkeypatch):
    monkeypatch.setattr(Path, 'read_text', lambda self: f'flags : fpu {flags} sse\n')
    monkeypatch.setattr(Path, 'exists', lambda self: True)
    assert supports_fast_bf16('cpu') is fast


def test_teacher_loads_its_checkpoint(tmp_path):
    donor = build(videomae(backbone=backbone(64, 6, 1)))
    path = str(tmp_path / 'teacher.pth')
    torch.save(dict(state_dict=donor.state_dict()), path)
    cfg = amd(
        teacher=dict(type='amd_mm.FrozenTeacher', backbone=backbone(64, 6, 1), checkpoint=path)
    )
    torch.testing.assert_close(
        build(cfg).teacher.backbone.blocks.state_dict(), donor.backbone.blocks.state_dict()
    )
    cfg['teacher']['random_init'] = True
    with pytest.raises(ValueError, match='the teacher needs weights'):
        build(cfg)


def test_teacher_needs_every_weight_except_the_final_norm(tmp_path):
    cfg = backbone(64, 6, 1)
    state = {f'backbone.{name}': one for name, one in build(cfg).state_dict().items()}
    path = str(tmp_path / 'teacher.pth')
    state = {name: one for name, one in state.items() if not name.startswith('backbone.norm')}
    torch.save(state, path)
    teachers.FrozenTeacher(cfg, [6], path)
    del state['backbone.patch_embed.projection.bias']
    torch.save(state, path)
    with pytest.raises(
        CheckpointError, match='missing.*projection.bias(.|\n)*Give a file'
    ) as error:
        teachers.FrozenTeacher(cfg, [6], path)
    assert 'allow_missing' not in str(error.value)  # an option of Python, not of tools/train.py


def test_student_can_start_from_every_second_block_of_its_teacher():
    teacher = dict(type='amd_mm.FrozenTeacher', backbone=backbone(96, 8, 6), random_init=True)
    cfg = amd(teacher=teacher, layer_pairs=[(2, 4), (4, 8)])
    model = build(cfg | dict(init_from_teacher=True))
    mine, theirs = model.backbone, model.teacher.backbone
    for number, source in enumerate((1, 3, 5, 7)):
        block, wide = mine.blocks[number], theirs.blocks[source]
        for which in range(3):  # of query, key and value the first three heads
            torch.testing.assert_close(
                block.attn.qkv.weight.view(3, 3, 16, 48)[which],
                wide.attn.qkv.weight.view(3, 6, 16, 96)[which, :3, :, :48],
            )
        torch.testing.assert_close(
            block.mlp.layers[1].weight, wide.mlp.layers[1].weight[:48, : 4 * 48]
        )
    conv = theirs.patch_embed.projection.weight
    torch.testing.assert_close(mine.patch_embed.projection.weight, conv[:48])
    assert not torch.equal(build(cfg).backbone.patch_embed.projection.weight, conv[:48])
    with pytest.raises(ValueError, match=r'init_from_teacher: the teacher has no patch_embed'):
        build(amd(backbone=backbone(192, 4, 3), init_from_teacher=True))
    with pytest.raises(ValueError, match=r"'video' must be False or one of \[True\]"):
        build(cfg | dict(init_from_teacher='video'))
