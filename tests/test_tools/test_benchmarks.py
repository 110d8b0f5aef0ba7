"""tools/benchmarks: equal results first, then measurements."""

import importlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from amd_mm.datasets import open_video
from amd_mm.registry import MODELS
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / 'configs' / 'quickstart'
AMD = QUICKSTART / 'quickstart_amd_student.py'
VIDEOMAE = QUICKSTART / 'quickstart_videomae_student.py'
TINYMIM = ROOT / 'configs' / 'quickstart_image' / 'quickstart_image_tinymim.py'
MAE = ROOT / 'configs' / 'quickstart_image' / 'quickstart_image_teacher.py'
RUNS = ('--repeats', '1', '--warmup', '1', '--threads', '1')
STEP = (*RUNS, '--batch', '1', '--loss-steps', '2')
VIT = (*RUNS, '--size', 'tiny', '--frames', '4', '--side', '32')
MEMORY = dict(before=100.0, peak=250.0)
NAMES = (
    'common',
    'pretrain_step',
    'plain_step',
    'recognition',
    'scaling',
    'data_pipeline',
    'cost',
    'gpu',
    'methods',
    'embedding',
)


@pytest.fixture(scope='module')
def bench() -> Iterator[SimpleNamespace]:
    """The modules of tools/benchmarks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools' / 'benchmarks'))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    for name in NAMES:
        sys.modules.pop(name)


@pytest.fixture
def no_new_process(bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what takes seconds: new processes that measure memory, and a matrix product."""
    monkeypatch.setattr(bench.pretrain_step, 'matmul_speed', lambda _: 1e12)
    monkeypatch.setattr(bench.common, 'in_new_process', lambda *_: MEMORY)


def rows_of(text: str) -> dict[str, list[str]]:
    """The other cells by the first one, of all tables."""
    lines = [line for line in text.splitlines() if line[:1] == '|']
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
    return {first: rest for first, *rest in cells}


# ---------------------------------------------------------------- pre-training step


def test_step_against_the_plain_step(
    bench: SimpleNamespace, no_new_process: None, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out, profile = tmp_path / 'new' / 'figures.json', tmp_path / 'profile.txt'
    more = ['--against', 'plain', '--json', str(out), '--profile', str(profile)]
    bench.pretrain_step.main([str(AMD), *STEP, *more])
    text = capsys.readouterr().out
    found, rows = json.loads(out.read_text()), rows_of(text)
    assert set(rows) >= {'amd_mm', 'plain', 'amd_mm / plain'}
    assert found['losses']['amd_mm'] == pytest.approx(found['losses']['plain'], rel=1e-5)
    assert found['machine']['torch'] == torch.__version__ and 'date' in found['machine']
    for name in ('amd_mm', 'plain'):
        assert len(found['losses'][name]) == 2 and min(found['seconds'][name]) > 0
        assert found['memory'][name] == MEMORY
    assert 'aten::' in profile.read_text()


def test_memory_and_speed_of_the_device(bench: SimpleNamespace) -> None:
    tool = bench.pretrain_step
    args = tool.parse_args([str(VIDEOMAE), *STEP])
    memory = tool.memory_of('amd_mm', args)
    assert memory['peak'] >= memory['before'] > 50
    assert 1e8 < tool.matmul_speed(args, repeats=1) < 1e15


@pytest.mark.parametrize('config', [MAE, TINYMIM], ids=lambda path: path.stem)
def test_step_against_an_option(
    bench: SimpleNamespace, no_new_process: None, capsys: pytest.CaptureFixture, config: Path
) -> None:
    option = 'optim_wrapper.optimizer.type=AdamW'
    bench.pretrain_step.main([str(config), *STEP, '--against', option])
    assert {'amd_mm', 'option', 'amd_mm / option'} <= set(rows_of(capsys.readouterr().out))


def test_plain_step_has_the_same_losses_and_gradients(bench: SimpleNamespace) -> None:
    tool = bench.pretrain_step
    args = tool.parse_args([str(AMD), *STEP, '--against', 'plain'])
    ours = tool.Step('amd_mm', args)
    plain = tool.Step('plain', args, like=ours)
    clip = ours.clip()
    assert torch.equal(clip, plain.clip())
    partition = ours.model.mask_generator(len(clip), ours.model.backbone.token_grid, clip.device)
    expected = plain.train.losses(clip, partition)
    found = ours.model.loss(clip, None, partition)
    assert set(expected) == {name for name in found if name.startswith('loss')}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)
    sum(expected.values()).backward()
    ours.model.parse_losses(found)[0].backward()
    gradients = dict(plain.model.named_parameters())
    for name, parameter in ours.model.named_parameters():
        expected_grad = gradients[name].grad
        torch.testing.assert_close(parameter.grad, expected_grad, rtol=1e-3, atol=1e-5, msg=name)


def test_unequal_losses_stop_the_benchmark(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = bench.plain_step.PlainStep
    right = plain.reconstruction_loss
    monkeypatch.setattr(plain, 'reconstruction_loss', lambda *given: 1.01 * right(*given))
    with pytest.raises(SystemExit, match='the losses of amd_mm and plain'):
        bench.pretrain_step.main([str(AMD), *STEP, '--against', 'plain'])


def test_flops_by_hand(bench: SimpleNamespace) -> None:
    tool = bench.pretrain_step
    args = tool.parse_args([str(VIDEOMAE), *STEP])
    model = tool.Step('amd_mm', args).model
    counts, backbone, decoder = model.token_counts(), model.backbone, model.decoder

    seen, patch = counts['visible'], backbone.patch_dims
    width, narrow = backbone.embed_dims, decoder.head.in_features
    embedding = 2 * seen * patch * width
    blocks = backbone.depth * block_flops(seen, width)
    blocks += len(decoder.blocks) * block_flops(counts['total'], narrow)
    linear = 2 * seen * width * narrow  # the decoder's embedding
    linear += 2 * counts['decoded'] * narrow * patch
    # The backward pass is twice the forward pass, but the clip needs no gradient.
    assert tool.count_flops(args) == 2 * embedding + 3 * linear + blocks


@pytest.mark.parametrize(
    'arguments, message',
    [
        ([MAE, '--against', 'plain'], 'the plain step needs a video backbone'),
        ([QUICKSTART / 'quickstart_finetune.py'], 'not a pre-training config'),
        ([AMD, '--device', 'cuda:99'], '--device cuda:99 cannot be used'),
        ([QUICKSTART / 'no_such.py'], 'no_such.py'),
    ],
)
def test_step_errors(
    bench: SimpleNamespace, capsys: pytest.CaptureFixture, arguments: list, message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        bench.pretrain_step.main([*map(str, arguments[:1]), *STEP, *map(str, arguments[1:])])
    assert message in f'{caught.value}{capsys.readouterr().err}'


# ---------------------------------------------------------------- cost


def block_flops(tokens: int, width: int, attention: int = 14) -> int:
    """Forward and backward pass of a block; flash attention computes its scores once more."""
    return 3 * 24 * tokens * width**2 + attention * tokens**2 * width


def test_cost_by_hand(bench: SimpleNamespace) -> None:
    cfg = bench.pretrain_step.pretraining_config(str(AMD), {})
    cost = bench.cost.compute(cfg)
    model = bench.cost.build_on_meta(cfg)
    counts, student, teacher = model.token_counts(), model.backbone, model.teacher
    seen, width, patch = counts['visible'], student.embed_dims, student.patch_dims
    # The clip needs no gradient.
    embedding = 2 * 2 * seen * patch * width
    assert cost.flops['student'] == embedding + student.depth * block_flops(seen, width)
    known, wide = seen + counts['teacher_only'], teacher.embed_dims
    forward = 24 * known * wide**2 + 4 * known**2 * wide
    layers = len(teacher.backbone.blocks)
    assert cost.flops['teacher'] == 2 * known * patch * wide + layers * forward
    assert cost.saved['teacher'] == 0 < cost.saved['student']
    assert cost.parameters['student'] == sum(p.numel() for p in student.parameters())
    memory = cost.constant + 10 * cost.saved.total()
    assert cost.largest_batch(memory / (1 - bench.cost.RESERVED) + 1) == 10


# One of each algorithm; every config: tools/benchmarks/results/cost.md
REAL = (
    'amd/pretrain/amd_vit-small-p16_vit-base_32xb16v4-16x2x1-200e_sthv2',
    'videomae/pretrain/videomae_vit-base-p16_32xb16v4-16x4x1-400e_k400',
    'dmae/pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k',
    'tinymim/pretrain/tinymim_vit-tiny-p16_vit-small_16xb256-300e_in1k',
)


def test_cost_of_real_configs(bench: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    bench.cost.main([str(ROOT / 'configs' / f'{name}.py') for name in REAL])
    rows = rows_of(capsys.readouterr().out)
    assert all(float(rows[Path(name).name][-2]) > 1 for name in REAL)


def test_days_of_a_training(bench: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    path = ROOT / 'configs' / f'{REAL[0]}.py'
    more = ['--samples', '168913', '--utilisation', '50', '--gpus', '1']
    bench.cost.main([str(path), *more])
    rows = rows_of(capsys.readouterr().out)
    _, speed, days = rows['1 x H100 80 GB']
    # 200 epochs of 4 views
    assert float(days) == pytest.approx(800 * 168913 / float(speed) / 86400, rel=0.05)


def test_cost_of_finetuning(bench: SimpleNamespace) -> None:
    cfg = Config.fromfile(QUICKSTART / 'quickstart_finetune.py')
    cost, model = bench.cost.compute(cfg), bench.cost.build_on_meta(cfg)
    backbone = model.backbone
    tokens, width = math.prod(backbone.token_grid), backbone.embed_dims
    embedding = 2 * 2 * tokens * backbone.patch_dims * width
    blocks = backbone.depth * block_flops(tokens, width)
    assert cost.flops['student'] == embedding + blocks
    assert cost.flops['head'] == 3 * 2 * width * model.cls_head.num_classes


FINETUNING = (
    'amd/recognition/amd_vit-small-p16_16xb16v2-sparse16-40e_sthv2',
    'amd/detection/amd_vit-base-p16_8xb16-16x4x1-30e_ava-kinetics-rawframes',
    'tinymim/finetune/tinymim_vit-tiny-p16_vit-small_finetune_8xb128-100e_in1k',
)


def test_cost_of_real_finetuning(bench: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    bench.cost.main([str(ROOT / 'configs' / f'{name}.py') for name in FINETUNING])
    rows = rows_of(capsys.readouterr().out)
    video, ava, image = (float(rows[Path(name).name][-2]) for name in FINETUNING)
    assert ava > 4 * video > 40 * image  # 16 x 256 x 352 pixels and twice the width


def test_cost_needs_our_backbone(bench: SimpleNamespace, tmp_path: Path) -> None:
    base = QUICKSTART / 'quickstart_finetune.py'
    stock = dict(_delete_=True, type='mmaction.ResNet3d', depth=18, pretrained=None)
    path = tmp_path / 'stock.py'
    path.write_text(f'_base_ = {str(base)!r}\nmodel = dict(backbone={stock!r})\n')
    with pytest.raises(SystemExit, match=r'stock.py: .*no ViT of this package'):
        bench.cost.main([str(path)])


# ---------------------------------------------------------------- recognition


def test_recognition(
    bench: SimpleNamespace, no_new_process: None, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'figures.json'
    bench.recognition.main([*VIT, '--json', str(out)])
    assert set(rows_of(capsys.readouterr().out)) >= {'fused', 'stock', 'fused / stock'}
    found = json.loads(out.read_text())
    assert set(found['seconds']) == {'train', 'test'}
    assert all(difference < 1e-4 for difference in found['differences'].values())


def test_unequal_gradients_are_not_timed(bench: SimpleNamespace) -> None:
    tool = bench.recognition
    args = tool.parse_args([*VIT, '--batch', '2'])
    models = {kind: tool.build_model(kind, args) for kind in tool.TYPES}
    models['fused'].load_state_dict(models['stock'].state_dict())
    attention = models['fused'][0].blocks[5].attn
    # The same outputs, other gradients.
    attention.q_bias.register_hook(lambda gradient: gradient * 1000)
    with pytest.raises(bench.common.UnequalError, match='gradients of fused and stock'):
        tool.compare(models, tool.make_clips(args), args)


# ---------------------------------------------------------------- data pipeline


@pytest.fixture(scope='module')
def small_video(bench: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp('videos') / 'small.mp4'
    return bench.data_pipeline.write_video(path, (96, 72), 70, 0)


def test_data_pipeline(
    bench: SimpleNamespace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    small_video: str,
) -> None:
    tool, out = bench.data_pipeline, tmp_path / 'figures.json'
    monkeypatch.setattr(tool, 'use_one_core', lambda: None)
    runs = [
        '--repeats',
        '1',
        '--warmup',
        '1',
        '--views',
        '2',
        '--clips-per-second',
        '1e3',
        '--videos',
    ]
    runs.append(small_video)
    tool.main([*runs, '--backends', 'pyav', '--json', str(out)])
    rows, found = rows_of(capsys.readouterr().out), json.loads(out.read_text())
    for name in ('pyav', 'public', 'public, 1 view'):
        (speed,) = found['clips_per_s'][name]
        assert rows[name][0].startswith(f'{speed:.1f} (')
        assert 0 <= int(rows[name][-1]) - 1000 / speed < 1


def test_long_files(
    bench: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch
) -> None:
    tool, out = bench.data_pipeline, tmp_path / 'figures.json'
    monkeypatch.setattr(tool, 'use_one_core', lambda: None)
    tool.main(['--long', '3', '--repeats', '1', '--json', str(out)])
    rows, found = rows_of(capsys.readouterr().out), json.loads(out.read_text())
    for container in ('mp4', 'mov', 'mkv', 'avi', 'webm'):
        for name in ('bare decoding', 'pyav, first clip', 'pyav, later clips'):
            ((seconds, size),) = found[container][name]
            assert seconds > 0 and size > 0
            assert rows[f'{container}: {name}'][0] == f'{seconds:.2f}'
    monkeypatch.setattr(tool, 'decode_bare', lambda *_: np.zeros((16, 360, 640, 3), np.uint8))
    with pytest.raises(SystemExit, match='pyav reads other frames of long.mp4'):
        tool.main(['--long', '3', '--repeats', '1', '--containers', 'mp4'])


def test_long_files_of_a_bit_rate(bench: SimpleNamespace, tmp_path: Path) -> None:
    args = bench.data_pipeline.parse_args(['--long', '3', '--megabits', '8', '--keyframes', '30'])
    path = bench.data_pipeline.write_long('avi', args, tmp_path)
    with open_video(path) as reader:
        assert len(reader) == 90
    assert Path(path).stat().st_size == pytest.approx(3 * 8e6 / 8, rel=0.3)


def test_listing_names(
    bench: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch
) -> None:
    tool, out = bench.data_pipeline, tmp_path / 'figures.json'
    monkeypatch.setattr(tool, 'use_one_core', lambda: None)
    tool.main(['--names', '1100', '--json', str(out)])
    rows, found = rows_of(capsys.readouterr().out), json.loads(out.read_text())
    assert found['names'] == 1100 and found['seconds'] > 0
    assert 50 < found['bytes_a_name'] < 200
    assert rows['1100'][1] == f'{found["bytes_a_name"]:.0f}'


def test_all_pipelines_make_the_same_clips(bench: SimpleNamespace, small_video: str) -> None:
    tool = bench.data_pipeline
    backends = [name for name in ('pyav', 'decord') if name in tool.available_backends()]
    pipelines = {name: tool.package_pipeline(name, 2) for name in backends}
    pipelines['public'] = tool.public_pipeline('pyav', 2)
    found = tool.compare(pipelines, [small_video], range(2))
    assert 0 < found['public']['largest'] <= 2
    one_view = tool.public_pipeline('pyav', 1, 3)([small_video], 0)
    assert len(one_view) == 3
    pipelines['public'] = lambda paths, seed: tool.public_pipeline('pyav', 2)(paths, seed) + 0.1
    with pytest.raises(bench.common.UnequalError, match="'public'"):
        tool.compare(pipelines, [small_video], range(1))


# ---------------------------------------------------------------- embedding


def test_embedding(
    bench: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture, small_video: str
) -> None:
    tool, out = bench.embedding, tmp_path / 'figures.json'
    runs = [*VIT, '--videos', small_video, '--workers', '0', '--json', str(out)]
    tool.main(runs)
    rows, found = rows_of(capsys.readouterr().out), json.loads(out.read_text())
    for name in ('embed', 'one by one'):
        (seconds,) = found['seconds'][name]
        assert rows[name][0].startswith(f'{1 / seconds:.2f} (')
        assert len(found['cpu_seconds'][name]) == 1
    wall = [found['seconds'][name][0] for name in ('one by one', 'embed')]
    assert rows['embed / one by one'][0] == f'{wall[0] / wall[1]:.2f} x'
    assert set(rows) >= {'reading', 'forward, batches of 1'}
    values = np.ones((2, 3), np.float32)
    assert tool.largest_difference(values, values, 'fp32') == 0
    with pytest.raises(bench.common.UnequalError, match='embed and one by one differ by 5'):
        tool.largest_difference(values, 2 * values, 'fp32')


# ---------------------------------------------------------------- scaling


def links(scaling: ModuleType, **changes: float) -> object:
    values = dict(per_node=8, intra=1e9, inter=1e8, latency=0.0, overlap=0.0)
    return scaling.Links(**{**values, **changes})


def test_communication_by_hand(bench: SimpleNamespace) -> None:
    scaling = bench.scaling
    # 8 GB among 8 GPUs at 1 GB/s: 7 messages of 1 GB, 7 s per collective.
    one = links(scaling)
    assert scaling.communication(8, 8e9, one, 'DDP') == pytest.approx(14)
    assert scaling.communication(8, 8e9, one, 'FSDP') == pytest.approx(21)
    slow = replace(one, latency=1.0)
    assert scaling.communication(8, 8e9, slow, 'DDP') == pytest.approx(28)
    assert scaling.communication(1, 8e9, slow, 'DDP') == 0
    # Then 1 GB among 4 nodes at 0.1 GB/s: 3 x 2.5 s.
    assert scaling.communication(32, 8e9, one, 'DDP') == pytest.approx(14 + 15)
    flat = links(scaling, per_node=1, inter=1e9)  # a ring of all
    assert scaling.communication(4, 8e9, flat, 'DDP') == pytest.approx(12)


def test_efficiency_by_hand(bench: SimpleNamespace) -> None:
    scaling = bench.scaling
    step = scaling.Step(seconds=14.0, clips=64, backward_share=0.5)
    one = links(scaling)
    assert scaling.efficiency(8, 8e9, step, one, 'DDP') == pytest.approx(0.5)
    assert scaling.efficiency(8, 8e9, step, one, 'FSDP') == pytest.approx(0.4)
    # Half of the backward pass's 7 s hides 3.5 of the 14 s.
    half = replace(one, overlap=0.5)
    assert scaling.efficiency(8, 8e9, step, half, 'DDP') == pytest.approx(14 / 24.5)
    long = replace(step, seconds=100.0)  # all 14 s fit: half of them is hidden
    assert scaling.efficiency(8, 8e9, long, half, 'DDP') == pytest.approx(100 / 107)
    row, _ = scaling.estimate([8], 8e9, step, one)
    assert row['clips_per_s'] == pytest.approx(8 * 64 / 28)
    assert row['communication_ms'] == pytest.approx(14000)


@given(
    counts=st.lists(st.integers(1, 4096), min_size=2, max_size=2).map(sorted),
    size=st.floats(1e3, 1e12),
    seconds=st.floats(1e-3, 1e3),
    backward=st.floats(0, 1),
    overlap=st.floats(0, 1),
    per_node=st.integers(1, 16),
    speeds=st.lists(st.floats(1e6, 1e12), min_size=2, max_size=2).map(sorted),
    latency=st.floats(0, 1e-2),
    strategy=st.sampled_from(['DDP', 'FSDP']),
)
def test_efficiency_properties(
    bench, counts, size, seconds, backward, overlap, per_node, speeds, latency, strategy
):
    scaling = bench.scaling
    step = scaling.Step(seconds, 1, backward)
    inter, intra = speeds
    here = scaling.Links(per_node, intra, inter, latency, overlap)

    def of(gpus, links=here, strategy=strategy):
        return scaling.efficiency(gpus, size, step, links, strategy)

    few, many = counts
    slack = 1 + 1e-9
    assert 0 < of(many) <= of(few) * slack
    assert of(1) == 1
    assert of(many, strategy='FSDP') <= of(many, strategy='DDP') * slack
    perfect = replace(here, intra=float('inf'), inter=float('inf'), latency=0.0)
    assert of(many, perfect) == 1
    for faster in (
        replace(here, intra=2 * intra),
        replace(here, inter=2 * inter),
        replace(here, overlap=1.0),
    ):
        assert of(many) <= of(many, faster) * slack


def test_scaling(bench: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'new' / 'figures.json'
    bench.scaling.main([str(AMD), '--step-ms', '250', '--clips', '64', '--json', str(out)])
    found, text = json.loads(out.read_text()), capsys.readouterr().out
    model = bench.pretrain_step.Step('amd_mm', bench.pretrain_step.parse_args([str(AMD)])).model
    assert found['gradient_bytes'] == 4 * sum(p.numel() for p in model.parameters())
    assert [row['gpus'] for row in found['rows']] == [8, 8, 32, 32, 256, 256]
    rows = [line for line in text.splitlines() if line[:1] == '|'][2:]
    for row, values in zip(rows, found['rows'], strict=True):
        cells = [cell.strip() for cell in row.split('|')[1:-1]]
        assert cells[:2] == [str(values['gpus']), values['strategy']]
        assert cells[3] == f'{100 * values["efficiency"]:.1f} %'
    for assumed in ('gather(k, V, B)', '300 GB/s', '25 GB/s', '10 us', '80 %'):
        assert assumed in text


# ---------------------------------------------------------------- GPU session


def test_gpu_rehearsal(
    bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that works, one that fails, one that is too slow, one that lacks a package."""
    tool, parts = bench.gpu, []
    parts.append(tool.make_parts(rehearse=True)[-2])
    for name, code in (('broken', '1 / 0'), ('slow', 'import time; time.sleep(999)')):
        parts.append(tool.Part(name, ['-c', code], 60, json=False))
    parts.append(tool.Part('absent', [], 60, ('no_such_module',)))
    monkeypatch.setattr(tool, 'make_parts', lambda rehearse: parts)
    limits = {'learning': 3000, 'broken': 300, 'slow': 2, 'absent': 9}
    run = tool.run
    monkeypatch.setattr(tool, 'run', lambda part, out, left: run(part, out, limits[part.name]))
    tool.main(['--rehearse', '--out', str(tmp_path)])
    table = (tmp_path / 'README.md').read_text().splitlines()
    states = {line.split(']')[0][3:]: line for line in table}
    assert 'done' in states['learning'] and 'exit status 1' in states['broken']
    assert 'limit' in states['slow'] and 'no_such_module' in states['absent']
    losses = json.loads((tmp_path / 'learning.json').read_text())['steps']
    assert [line['step'] for line in losses] == list(range(1, 10))
    assert 'ZeroDivisionError' in (tmp_path / 'broken.md').read_text()
    tool.main(['--rehearse', '--minutes', '0.01', '--out', str(tmp_path / 'short')])
    assert (tmp_path / 'short' / 'README.md').read_text().count('not run') == len(parts)


# ---------------------------------------------------------------- methods


def test_comparison_of_methods(
    bench: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """With untrained students, whose steps are skipped because their checkpoints exist."""
    tool = bench.methods
    script = str(ROOT / 'tools/quickstart/motion_videos.py')
    sizes = ('--train', '32', '--heldout', '16')
    subprocess.run([sys.executable, script, str(tmp_path / 'videos'), *sizes], check=True)
    checkpoint = tool.quickstart.STUDENT_CHECKPOINT
    (tmp_path / 'mae-frames').mkdir()
    (tmp_path / 'mae-frames' / tool.IMAGE_TEACHER).touch()
    for name in tool.METHODS:
        cfg = Config.fromfile(QUICKSTART / f'quickstart_{name}_student.py')
        folder = tmp_path / f'seed0/student-{name}'
        folder.mkdir(parents=True)
        cfg.dump(folder / 'config.py')
        torch.manual_seed(0)
        backbone = MODELS.build(cfg.model.backbone)
        state = {f'backbone.{key}': value for key, value in backbone.state_dict().items()}
        torch.save(dict(state_dict=state, meta={}), folder / checkpoint)
        (folder / 'last_checkpoint').write_text(str(folder / checkpoint))
    tool.main(['--out', str(tmp_path)])
    rows = rows_of(capsys.readouterr().out)
    assert rows['AMD'] == rows['SALT-like'] == rows['MVD-like, two teachers']  # one network
    assert rows['teacher of videos'] != rows['AMD']
    assert all(0 <= float(cell) <= 100 for name in tool.METHODS.values() for cell in rows[name])
    frames = list((tmp_path / 'frames/unlabelled').iterdir())
    assert len(frames) == 4 * len(list((tmp_path / 'videos/unlabelled').rglob('*.mp4')))
    assert cv2.imread(str(frames[0])).shape == (40, 40, 3)
