"""Who sees what: properties of the partitions."""

import math

import pytest
import torch
from amd_mm.models import mask_generators
from amd_mm.models.mask_generators import (
    AsymmetricRandomMaskGenerator,
    AsymmetricTubeMaskGenerator,
    TokenPartition,
)
from amd_mm.models.utils import gather_tokens
from hypothesis import given, settings
from hypothesis import strategies as st

GRID = (8, 14, 14)
KINDS = [AsymmetricTubeMaskGenerator, AsymmetricRandomMaskGenerator]

grids = st.tuples(*[st.integers(1, 6)] * 3).filter(lambda g: g[1] * g[2] > 1)
ratios = st.floats(0, 0.95)


@settings(max_examples=30)
@given(
    kind=st.sampled_from(KINDS),
    grid=grids,
    pair=st.tuples(ratios, ratios).map(sorted),
    decoder_ratio=st.floats(0, 0.9),
    generator_ratio=st.one_of(st.just(0.0), st.floats(0, 0.9)),
    batch=st.integers(1, 4),
    seed=st.integers(0, 2**40),
)
def test_sets_are_a_partition(kind, grid, pair, decoder_ratio, generator_ratio, batch, seed):
    generator = kind(
        pair[1], pair[0], decoder_ratio=decoder_ratio, generator_ratio=generator_ratio, seed=seed
    )
    counts = generator.counts(grid)
    partition = generator(batch, grid)
    sets = partition.visible, partition.teacher_only, partition.hidden
    everything = torch.cat(sets, 1).sort(dim=1).values
    expected = torch.arange(math.prod(grid)).expand(batch, -1)
    assert torch.equal(everything, expected)
    assert [s.shape[1] for s in sets] == [counts[k] for k in ('visible', 'teacher_only', 'hidden')]
    for ids in (*sets, partition.targets):
        assert ids.dtype == torch.int64
    generated = partition.generation_targets
    assert torch.equal(generated, sets[1][:, counts['teacher_only'] - counts['generated'] :])
    for ids in (sets[0], sets[2], generated):
        assert torch.equal(ids, ids.sort(dim=1).values)
    assert generated.shape == (batch, counts['generated'])
    if not generator_ratio:
        assert partition.generated is None
    assert partition.targets.shape == (batch, counts['decoded'])
    for row, unseen in zip(partition.targets, partition.masked):
        assert len(set(row.tolist())) == len(row)
        assert set(row.tolist()) <= set(unseen.tolist())


@pytest.mark.parametrize(
    'student, teacher, visible, extra',
    [(0.90, 0.75, 160, 232), (0.90, 0.90, 160, 0), (0.90, 0.0, 160, 1408), (0.80, 0.75, 320, 72)],
)
def test_published_counts_on_a_16x224x224_clip(student, teacher, visible, extra):
    counts = AsymmetricTubeMaskGenerator(student, teacher).counts(GRID)
    assert (counts['visible'], counts['teacher_only']) == (visible, extra)
    assert sum(counts[k] for k in ('visible', 'teacher_only', 'hidden')) == 1568
    assert counts['decoded'] == 1568 - visible


@pytest.mark.parametrize('ratio, visible', [(0.75, 49), (0.9, 19), (0.95, 9), (0.98, 3)])
def test_visible_patches_are_rounded_down_as_in_mae(ratio, visible):
    generator = AsymmetricRandomMaskGenerator(ratio, round_down='visible')
    assert generator.counts((1, 14, 14))['visible'] == visible


def test_tubes_are_the_same_at_every_time_and_random_masks_are_not():
    tube = AsymmetricTubeMaskGenerator(0.9, 0.75, seed=1)(3, GRID)
    frames = tube.visible.view(3, 8, 20) - torch.arange(8).view(8, 1) * 196
    assert (frames == frames[:, :1]).all()
    assert not torch.equal(frames[0], frames[1])
    free = AsymmetricRandomMaskGenerator(0.9, 0.75, seed=1)(3, GRID)
    assert not torch.equal(free.visible // 196, tube.visible // 196)


def test_every_patch_is_masked_equally_often():
    generator = AsymmetricTubeMaskGenerator(0.75, 0.5, seed=0)
    seen = torch.zeros(16)
    for _ in range(20):
        ids = generator(200, (1, 4, 4)).visible
        seen += torch.bincount(ids.flatten(), minlength=16)
    share = seen / 4000  # of 4000 clips; expected .25, deviation .007
    assert (share - 0.25).abs().max() < 0.04


def test_same_seed_and_step_draw_the_same(monkeypatch):
    one, two = [AsymmetricTubeMaskGenerator(0.9, 0.75, seed=7) for _ in range(2)]
    before = torch.get_rng_state()
    first = one(4, GRID)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.visible, two(4, GRID).visible)
    second = one(4, GRID)
    assert not torch.equal(first.visible, second.visible)
    monkeypatch.setattr(mask_generators, 'get_rank', lambda: 1)
    assert not torch.equal(second.visible, two(4, GRID).visible)


def test_the_runner_s_iteration_decides_when_there_is_one(monkeypatch):

    class Hub:
        runtime_info = dict(iter=5, seed=3)

        @classmethod
        def get_current_instance(cls):
            return cls

    monkeypatch.setattr(mask_generators, 'MessageHub', Hub)
    generator = AsymmetricTubeMaskGenerator(0.9, 0.75)
    at_five = generator(2, GRID).teacher_only
    assert torch.equal(at_five, generator(2, GRID).teacher_only)
    Hub.runtime_info['iter'] = 6
    assert not torch.equal(at_five, generator(2, GRID).teacher_only)
    Hub.runtime_info['iter'] = 5
    resumed = AsymmetricTubeMaskGenerator(0.9, 0.75)
    assert torch.equal(at_five, resumed(2, GRID).teacher_only)


def test_index_gather_equals_boolean_mask():
    partition = AsymmetricTubeMaskGenerator(0.9, 0.75, seed=0)(3, GRID)
    tokens = torch.randn(3, 1568, 5)
    student = torch.ones(3, 1568, dtype=torch.bool)
    student.scatter_(1, partition.visible, False)
    teacher = student.clone().scatter_(1, partition.teacher_only, False)
    for ids, mask in (
        (partition.visible, ~student),
        (partition.teacher_only, student & ~teacher),
        (partition.hidden, teacher),
    ):
        torch.testing.assert_close(gather_tokens(tokens, ids), tokens[mask].view(3, -1, 5))
    again = TokenPartition.from_masks(student, teacher)
    for name in ('visible', 'teacher_only', 'hidden'):
        assert torch.equal(getattr(again, name), getattr(partition, name))


def test_running_cells_spread_over_space_and_time():
    generator = AsymmetricTubeMaskGenerator(0.9, 0.9, decoder_ratio=0.5, seed=0)
    decoded = generator(4, GRID).targets
    assert decoded.shape[1] == 704
    for clip in decoded:
        per_frame = torch.bincount(clip // 196, minlength=8)
        assert per_frame.min() >= 60  # 88 a frame if perfectly even
        place = clip % 196
        quarter = place // 14 % 2 * 2 + place % 2
        assert torch.bincount(quarter, minlength=4).min() >= 100


def test_bad_ratios_and_masks_are_refused():
    for name in ('decoder_ratio', 'generator_ratio'):
        with pytest.raises(ValueError, match=name):
            AsymmetricTubeMaskGenerator(**{name: 1.0})
    student = torch.tensor([[True, False, True, True]])
    with pytest.raises(ValueError, match='must cover'):
        TokenPartition.from_masks(student, ~student)
    ragged = torch.tensor([[True, False], [True, True]])
    with pytest.raises(ValueError, match='same number of masked tokens'):
        TokenPartition.from_masks(ragged)
