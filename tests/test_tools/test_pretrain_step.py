"""tools/benchmarks/pretrain_step.py: two ways of one step, then figures."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
AMD = CONFIGS / 'quickstart' / 'quickstart_amd_student.py'
VIDEOMAE = CONFIGS / 'quickstart' / 'quickstart_videomae_student.py'
TINYMIM = CONFIGS / 'quickstart_image' / 'quickstart_image_tinymim.py'
MAE = CONFIGS / 'quickstart_image' / 'quickstart_image_teacher.py'
QUICK = ('--repeats', '2', '--warmup', '1', '--threads', '1', '--batch', '2', '--loss-steps', '3')


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / 'tools' / 'benchmarks'))
    return importlib.import_module('pretrain_step')


@pytest.fixture
def no_memory(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the processes that measure it: seconds each."""
    memory = tool.Memory(100.0, 250.0)
    monkeypatch.setattr(tool, 'in_own_process', lambda *_: memory)


def ways_of(tool: ModuleType) -> ModuleType:
    """The module beside the tool that holds the parts of a step."""
    return importlib.import_module(tool.Way.__module__)


def task_of(tool: ModuleType, config: Path, **other) -> tuple:
    task = tool.Task(str(config), other.pop('options', {}), None, 2, 1e-5, 'fp32')
    return task, tool.Machine('cpu', 'fp32', 1)


def rows_of(text: str) -> dict:
    """First cell -> the others, of all tables."""
    lines = [line for line in text.splitlines() if line[:1] == '|']
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
    return {first: rest for first, *rest in cells}


def test_against_the_plain_way(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'new' / 'figures.json'
    tool.main([str(AMD), *QUICK, '--against', 'plain', '--json', str(out)])
    text = capsys.readouterr().out
    assert 'losses of 3 steps' in text
    assert f'torch: {torch.__version__.partition("+")[0]}' in text
    rows = rows_of(text)
    assert {
        'amd_mm',
        'plain',
        'amd_mm / plain',
        'teacher',
        'student',
        'neck',
        'decoder',
        'target',
        'optimiser',
        'together',
    } <= set(rows)
    found = json.loads(out.read_text())
    assert set(found['memory']) == set(found['step']) == {'amd_mm', 'plain'}
    for memory in found['memory'].values():
        assert memory['peak'] > memory['before'] > 50
    together = float(rows['together'][0])
    assert together == pytest.approx(sum(found['flops'].values()) / 1e9, abs=0.05)
    assert len(found['losses']['plain']) == 3


@pytest.mark.parametrize('config, parts', [
    (VIDEOMAE, {'student', 'decoder', 'target', 'optimiser'}),
    (MAE, {'student', 'decoder', 'target', 'optimiser'}),
    (TINYMIM, set()),
], ids=lambda value: getattr(value, 'stem', ''))  # yapf: disable
def test_other_algorithms_and_options(
    tool: ModuleType, no_memory: None, capsys: pytest.CaptureFixture, config: Path, parts: set
) -> None:
    tool.main([str(config), *QUICK, '--against', 'optim_wrapper.optimizer.type=mmengine.AdamW'])
    rows = rows_of(capsys.readouterr().out)
    assert {'amd_mm', 'other', 'amd_mm / other'} <= set(rows)
    assert {'student', 'decoder', 'target', 'optimiser', 'neck'} & set(rows) == parts


def test_the_plain_way_gives_the_same_gradients(tool: ModuleType) -> None:
    task, machine = task_of(tool, AMD)
    ours = tool.Way(tool.OURS, task, machine)
    plain = tool.Way(tool.PLAIN, task, machine, like=ours)
    clip = ours.clip()
    partition = ways_of(tool).draw(ours.model, clip)
    assert torch.equal(clip, plain.clip())
    losses = [way.parts.losses(clip, partition) for way in (plain,)] + [
        ours.model.loss(clip, None, partition)
    ]
    for name, value in losses[0].items():
        torch.testing.assert_close(losses[1][name], value, msg=name)
    sum(losses[0].values()).backward()
    ours.model.parse_losses(losses[1])[0].backward()
    theirs = dict(plain.model.named_parameters())
    for name, parameter in ours.model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, theirs[name].grad, rtol=1e-3, atol=1e-5, msg=name
        )


def test_parts_make_the_step(tool: ModuleType) -> None:
    """What is timed part by part is what the step consists of."""
    task, machine = task_of(tool, AMD)
    way = tool.Way(tool.OURS, task, machine)
    clip = way.clip()
    partition = ways_of(tool).draw(way.model, clip)
    target = way.parts.target(clip, partition)
    theirs = way.parts.teacher(clip, partition)
    tokens, layers = way.parts.student(clip, partition)
    found = dict(
        way.parts.neck(layers, theirs, partition),
        loss_rec=way.parts.decoder(tokens, target, partition),
    )
    expected = way.model.loss(clip, None, partition)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], msg=name)
    assert set(found) == {n for n in expected if n.startswith('loss')}


def test_operations_by_hand(tool: ModuleType) -> None:
    task, machine = task_of(tool, AMD)
    counted = tool.count_flops(task, machine)
    model = tool.Way(tool.OURS, task, machine).model
    counts = model.token_counts()

    def blocks(backbone, tokens, depth):
        width = backbone.embed_dims
        embedding = 2 * tokens * backbone.patch_dims * width
        each = 24 * tokens * width**2 + 4 * tokens**2 * width
        return embedding, depth * each

    seen = counts['visible'] + counts['teacher_only']
    teacher = model.teacher.backbone
    assert counted['teacher'] == sum(blocks(teacher, seen, model.teacher.layers[-1]))
    embedding, rest = blocks(model.backbone, counts['visible'], model.backbone.depth)
    # Backward is twice the forward pass, but the clip needs no gradient.
    assert counted['student'] == 2 * embedding + 3 * rest
    assert set(counted) == {'teacher', 'student', 'neck', 'decoder'}


def test_nothing_is_timed_when_they_differ(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ways_of(tool).PlainParts.decoder
    monkeypatch.setattr(ways_of(tool).PlainParts, 'decoder', lambda *given: 1.01 * right(*given))
    with pytest.raises(SystemExit, match='the losses of amd_mm and plain'):
        tool.main([str(AMD), *QUICK, '--against', 'plain'])


@pytest.mark.parametrize(
    'arguments, says',
    [
        ([MAE, '--against', 'plain'], 'the plain way is written for video'),
        ([AMD, '--against', 'compile'], '--against compile is neither'),
        ([CONFIGS / 'quickstart' / 'quickstart_finetune_amd.py'], 'does not pre-train'),
        ([AMD, '--device', 'cuda:99'], '--device cuda:99 cannot be used'),
        ([CONFIGS / 'no_such.py'], 'no_such.py'),
        ([AMD, '--dtype', 'fp16'], 'AmpOptimWrapper'),
    ],
)
def test_wrong_calls_stop_it(
    tool: ModuleType, capsys: pytest.CaptureFixture, arguments: list, says: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        tool.main([*map(str, arguments), *QUICK])
    assert says in f'{caught.value}{capsys.readouterr().err}'
