"""One call from a folder to a small model: its choices, its config and its run."""

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import amd_mm
import cv2
import numpy as np
import pytest
import torch
from amd_mm import cli, distillation, runs
from amd_mm.apis import load_model
from amd_mm.checkpoints import from_amd_mm
from amd_mm.distillation import METHODS, distill
from amd_mm.errors import ConfigError
from amd_mm.models.algorithms import MaskedAutoencoder
from amd_mm.registry import MODELS
from amd_mm.runs import largest_batch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmengine.runner import Runner

from .test_tools.tool_scripts import run_tool

SMALL = dict(student='48,6,3', workers=0, dry_run=True)
RUNS = [
    (name, kind)
    for name, method in METHODS.items()
    for kind in ('video', 'image')
    if getattr(method, kind)
]


def planned(data: Path, out: Path, **arguments) -> Config:
    return Config.fromfile(distill(str(data), str(out), **{**SMALL, **arguments}) / 'distill.py')


def build(cfg: Config) -> torch.nn.Module:
    torch.manual_seed(0)
    logging.disable(logging.INFO)  # a line for each parameter
    with DefaultScope.overwrite_default_scope('mmaction'):
        model = MODELS.build(cfg.model)
        model.init_weights()
    return model


@pytest.fixture(scope='module')
def data(tmp_path_factory, tiny_video_folder) -> dict[str, Path]:
    """Six videos and twenty images."""
    images = tmp_path_factory.mktemp('images')
    for index in range(20):
        pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(images / f'{index}.png'), pixels)
    return dict(video=tiny_video_folder, image=images)


def train_in_process(config: Path, devices: int, *more: str, quiet: bool = False) -> None:
    """``tools/train.py`` without the time of its imports."""
    result = run_tool('train', str(config), '--work-dir', str(config.parent), *more)
    assert not result.returncode, result.stderr


def save(model: torch.nn.Module, folder: Path) -> Path:
    """Write a model as the checkpoint of a training folder."""
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'iter_1.pth')
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_1.pth'))
    return folder


def save_untrained(data: Path, folder: Path, **sizes: int) -> Path:
    """A training folder whose checkpoint has random weights: 64 x 64 pixels, 64 wide, 4 blocks."""
    return save(build(planned(data, folder, student='64,4,1', size=64, **sizes)), folder)


@pytest.fixture(scope='module')
def teachers(tmp_path_factory, data) -> dict[str, Path]:
    """Training folders of a video and of an image teacher, of random weights."""
    folder = tmp_path_factory.mktemp('teachers')
    return dict(
        video=save_untrained(data['video'], folder / 'video', frames=8, stride=1),
        image=save_untrained(data['image'], folder / 'image'),
    )


@pytest.mark.parametrize('name, kind', RUNS)
def test_every_method_makes_a_config_that_trains(name, kind, data, teachers, tmp_path):
    more: dict = dict(size=64, **(dict(frames=8) if kind == 'video' else {}))
    if METHODS[name].teacher:
        more = dict(teacher=str(teachers[kind]))
    if METHODS[name].image_teacher:
        more['image_teacher'] = str(teachers['image'])
    if name == 'tinymim':
        more['student'] = '48,6,1'
    cfg = planned(data[kind], tmp_path / 'run', method=name, **more)
    model = build(cfg)
    assert (model.backbone.embed_dims, model.backbone.depth) == (48, 6)
    assert model.backbone.token_grid == ((4, 4, 4) if kind == 'video' else (1, 4, 4))
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    pairs = cfg.model.get('layer_pairs')
    if name == 'amd':
        assert pairs == [(3, 2), (6, 4)]  # of 6 and 4 blocks, as (6, 12) and (12, 24) of 12 and 24
    if name == 'mvd':
        assert pairs == dict(image=[(6, 4)], video=[(6, 4)])
        assert cfg.model.teacher.image.checkpoint == str(teachers['image'] / 'iter_1.pth')
        assert cfg.lineage == dict(
            {'Image teacher': 'image'}, Method='mvd', Teacher='video', licence=None
        )
    elif METHODS[name].teacher:
        names = ('patch_embed.projection.weight', 'backbone.patch_embed.projection.weight')
        saved = torch.load(teachers[kind] / 'iter_1.pth', weights_only=True)['state_dict']
        mine = model.teacher.backbone.state_dict()[names[0]]
        assert torch.equal(mine, saved[names[1]])
    loaded = load_model(save(model, tmp_path / 'run')).backbone.state_dict()
    assert all(torch.equal(loaded[name], one) for name, one in model.backbone.state_dict().items())


def test_numbers_follow_the_data(data, tmp_path):
    """6 videos; VideoMAE's config has 512 videos a step, 1.2e-3, 200 epochs, 10 of warm-up."""
    cfg = planned(data['video'], tmp_path / 'a', total_batch=12, batch=3)
    assert cfg.train_dataloader.batch_size == 3 and cfg.optim_wrapper.accumulative_counts == 4
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1.2e-3 * (12 / 512) ** 0.5)
    assert cfg.train_cfg.max_iters == 200 * 6 // 12 * 4
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.end == cosine.begin == 0.05 * 400 and not warm_up.by_epoch
    cfg = planned(data['video'], tmp_path / 'b', devices=2, steps=7, lr=0.1, frames=4, stride=3)
    assert cfg.train_dataloader.batch_size == 3  # half of the videos
    assert cfg.train_cfg.max_iters == 7 * cfg.optim_wrapper.accumulative_counts
    assert cfg.optim_wrapper.optimizer.lr == 0.1
    sampling = cfg.train_dataloader.dataset.pipeline[1]
    assert (sampling.clip_len, sampling.frame_interval) == (4, 3)
    assert cfg.model.backbone.num_frames == 4
    pipeline = planned(
        data['video'], tmp_path / 'd', fps=8, frames=4
    ).train_dataloader.dataset.pipeline
    assert pipeline[1] == dict(type='amd_mm.SampleFramesAtRate', fps=8, clip_len=4, num_clips=1)
    full = planned(data['video'], tmp_path / 'c', student='vit-base').model
    published = Config.fromfile(
        distillation.shipped('configs') / '_base_/models/videomae_vit-base.py'
    ).model
    assert full == published


@pytest.mark.parametrize('steps', [1, 3, 5, 12, 40])
def test_a_short_run_reaches_its_learning_rate(steps, data, tmp_path):
    """12 steps of 5 % warm-up would leave it one step, at whose start MMEngine stays."""
    cfg = planned(data['video'], tmp_path / 'a', steps=steps, total_batch=6, batch=6, lr=0.1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    made = [
        PARAM_SCHEDULERS.build(dict(one, optimizer=optimizer, end=one.get('end', steps)))
        for one in cfg.param_scheduler
    ]
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in made:
            scheduler.step()
    assert max(rates) == pytest.approx(0.1) and (steps < 3 or rates[-1] < 0.05)


def test_the_licence_goes_from_the_teacher_to_its_students():
    assert runs.licence_of('videomae-base', None) == 'cc-by-nc-4.0'
    assert runs.licence_of('mae-base-mmpretrain', None) == 'apache-2.0'
    assert runs.joint_licence('mit', 'apache-2.0') == 'apache-2.0 and mit'
    assert runs.joint_licence('mit', 'mit') == 'mit'
    assert runs.joint_licence('mit', None) is runs.joint_licence(None, None) is None
    assert runs.licence_of('runs/mine', Config(dict(lineage=dict(licence='mit')))) == 'mit'
    assert runs.licence_of('runs/mine', Config()) is None


def test_a_list_file_and_options(data, tmp_path):
    names = sorted(path.name for path in data['image'].iterdir())[:5]
    listed = data['image'] / 'some.txt'
    listed.write_text('\n'.join(names))
    options = {'model.head.target': 'pixels'}
    cfg = planned(listed, tmp_path / 'run', size=32, options=options)
    assert cfg.model.head.target == 'pixels'
    assert len(Runner.build_dataloader(cfg.train_dataloader).dataset) == 5
    listed.unlink()


def test_an_image_teacher_of_weights_alone(data, teachers, tmp_path):
    state = torch.load(teachers['image'] / 'iter_1.pth', weights_only=True)['state_dict']
    torch.save(dict(model=from_amd_mm(state, 'mae').state), tmp_path / 'mae.pth')
    alone = planned(data['image'], tmp_path / 'a', teacher=str(tmp_path / 'mae.pth')).model
    known = planned(data['image'], tmp_path / 'b', teacher=str(teachers['image'])).model
    assert alone.backbone == {**known.backbone, 'in_channels': 3, 'with_cls_token': True}
    assert alone.teacher.backbone.arch == known.teacher.backbone.arch
    build(Config(dict(model=alone)))


def losses_of(folder: Path) -> list[float]:
    (log,) = folder.rglob('scalars.json')
    return [json.loads(line)['loss'] for line in log.read_text().splitlines()]


def test_the_run_is_that_of_the_config(data, teachers, tmp_path, capsys):
    """In a process of its own; then again by tools/train.py with the config that it wrote."""
    out = distill(
        str(data['video']),
        str(tmp_path / 'run'),
        teacher=str(teachers['video']),
        student='48,6,3',
        steps=3,
        batch=1,
        total_batch=2,
        workers=0,
        options={'train_dataloader.dataset.pipeline.3.num_views': 1},
    )
    printed = capsys.readouterr().out
    assert 'steps' in printed and 'loss_generation' in printed and 'Hook' not in printed
    for name in ('curves.png', 'reconstruction.png'):
        assert cv2.imread(str(out / name)).std() > 0
    assert load_model(out).backbone.embed_dims == 48
    alone = amd_mm.load(out / 'model').module.backbone.state_dict()
    trained = load_model(out).backbone.state_dict()
    assert all(torch.equal(alone[name], trained[name]) for name in alone)
    assert '| Teacher | video |' in (out / 'model/README.md').read_text()
    run_tool('train', str(out / 'distill.py'), '--work-dir', str(tmp_path / 'again'))
    assert losses_of(tmp_path / 'again') == losses_of(out) and len(losses_of(out)) == 6
    with pytest.raises(ConfigError, match='has a run: continue it with resume'):
        distill(str(data['video']), str(out))


def test_sigterm_ends_the_training_with_a_checkpoint(data, tmp_path):
    command = [
        sys.executable,
        '-W',
        'ignore',
        '-m',
        'amd_mm',
        'distill',
        '--data',
        str(data['video']),
    ]
    command += ['--out', str(tmp_path), '--student', '48,2,3', '--frames', '4', '--size', '32']
    command += ['--steps', '100000', '--batch', '1', '--total-batch', '1', '--workers', '0']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if 'Iter(train)' in line:
                process.terminate()
                break
        process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    (saved,) = tmp_path.glob('stopped_at_iter_*.pth')
    assert (tmp_path / 'last_checkpoint').read_text() == str(saved)


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(runs, 'train', train_in_process)


def test_resume_continues_the_run_with_its_config(data, tmp_path, in_process, monkeypatch):
    small = dict(student='48,2,3', frames=4, size=32, batch=6, total_batch=6)
    out = planned(data['video'], tmp_path / 'run', steps=2, **small).work_dir
    calls = []
    train = runs.train

    def spy(*arguments: object) -> None:
        calls.append(arguments[2:])
        train(*arguments)

    monkeypatch.setattr(runs, 'train', spy)
    distill('elsewhere', out, steps=5, resume=True)
    assert calls == [('--resume',)]
    assert Config.fromfile(f'{out}/distill.py').train_cfg.max_iters == 2
    assert len(losses_of(Path(out))) == 2
    with pytest.raises(ConfigError, match='no run in .*gone'):
        distill(str(data['video']), str(tmp_path / 'gone'), resume=True)


def test_hours_become_steps(data, tmp_path, in_process, monkeypatch):
    monkeypatch.setattr(runs.statistics, 'median', lambda times: 2.0)
    arguments = dict(student='48,2,3', frames=4, size=32, batch=3, total_batch=6, hours=1)
    cfg = planned(data['video'], tmp_path / 'run', **arguments)
    trained = planned(
        data['video'], tmp_path / 'same', **{**arguments, 'hours': None, 'steps': 855}
    )
    cfg.work_dir = trained.work_dir
    assert cfg.to_dict() == trained.to_dict()  # nothing of the trial is left in it
    # 2 seconds an iteration, two of which are a step: 0.95 of an hour has 855 steps.
    assert cfg.train_cfg.max_iters == 855 * 2
    assert not (tmp_path / 'run/last_checkpoint').exists()


@pytest.mark.parametrize(
    'fitting, limit, expected', [(5, 64, 4), (100, 8, 8), (100, 6, 4), (0, 8, 0)]
)
def test_the_largest_batch_that_fits(fitting, limit, expected, data, tmp_path, monkeypatch):
    """Steps of a real model on the CPU; a clip takes one of ``fitting`` parts of the memory."""
    cfg = planned(data['video'], tmp_path / 'run', frames=4, size=32, batch=1)
    tried = []
    step = MaskedAutoencoder.train_step

    def record(model, batch, wrapper):
        tried.append(sum(map(len, batch['inputs'])) // 4)  # of four views
        return step(model, batch, wrapper)

    monkeypatch.setattr(MaskedAutoencoder, 'train_step', record)
    for name, result in dict(
        reset_peak_memory_stats=None,
        empty_cache=None,
        get_device_properties=SimpleNamespace(total_memory=fitting / 0.85 + 1e-6),
    ).items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, result=result: result)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: tried[-1])
    if not expected:
        with pytest.raises(ConfigError, match='not even one sample'):
            largest_batch(cfg, limit, 'cpu')
        return
    assert largest_batch(cfg, limit, 'cpu') == expected
    assert max(tried) <= limit


MISTAKES = [
    (dict(data='nowhere'), 'no folder or list file nowhere'),
    (dict(data='.'), 'has no videos and no images'),
    (dict(method='amdd'), 'there is no amdd, but amd'),
    (dict(method='amd'), 'needs a teacher: give one, or use videomae or mae'),
    (dict(method='mae'), 'has no images'),
    (dict(method='mvd', teacher='video'), 'mvd needs one, such as mae-base'),
    (dict(teacher='video', image_teacher='image'), 'mvd has one, amd has none'),
    (
        dict(method='mvd', teacher='video', image_teacher='video'),
        'is a model of videos, where one of images is needed',
    ),
    (dict(method='videomae', teacher='image'), 'videomae has no teacher: leave it out'),
    (dict(teacher='image'), 'is a model of images, where one of videos is needed'),
    (dict(student='vit-smal'), 'there is no vit-smal, but vit-tiny'),
    (dict(student='48,6'), 'give width,depth,heads'),
    (dict(batch=4, devices=2), 'batch: 4 on each of 2 devices is more than the 6 videos'),
    (dict(stride=2, fps=8), 'stride or fps, not both'),
    (dict(steps=3, hours=2), 'one of epochs, steps and hours'),
    (dict(options={'model.hed': 1}), 'hed'),
]


@pytest.mark.parametrize('wrong, words', MISTAKES)
def test_mistakes(wrong, words, data, teachers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for one in {'teacher', 'image_teacher'} & set(wrong):
        wrong = {**wrong, one: str(teachers[wrong[one]])}
    with pytest.raises(ConfigError, match=words):
        distill(**{**SMALL, 'data': str(data['video']), 'out': 'run', **wrong})
    assert not (tmp_path / 'run').exists()


# -- command -----------------------------------------------------------------------------------


def test_the_command_has_the_arguments_of_the_function(data, tmp_path, capsys):
    words = ['distill', '--data', str(data['video']), '--out', str(tmp_path / 'run'), '--dry-run']
    words += ['--student', '48,2,3', '--lr', '0.5', '--options', 'model.head.target=pixels']
    cli.main(words)
    cfg = Config.fromfile(tmp_path / 'run/distill.py')
    assert cfg.optim_wrapper.optimizer.lr == 0.5 and cfg.model.head.target == 'pixels'
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, '--method', 'none'])
    assert stopped.value.code == (
        'amd-mm distill: method: there is no none, but amd, dmae, mvd, salt, tinymim, videomae, mae'
    )
    with pytest.raises(SystemExit) as stopped:
        cli.main(['distil'])
    assert stopped.value.code == 2
    with pytest.raises(SystemExit):
        cli.main(['distill', '--help'])
    assert 'Default: amd if there is a' in ' '.join(capsys.readouterr().out.split())


def test_arguments_that_need_python_are_no_options(capsys):
    with pytest.raises(SystemExit):
        cli.main(['embed', '--help'])
    printed = capsys.readouterr().out
    assert '--window' in printed and '--batch-size' in printed and '--sampling' not in printed


def test_lists(capsys):
    cli.main(['models'])
    assert 'MCG-NJU/videomae-large' in capsys.readouterr().out
    cli.main(['configs', '--folder', 'quickstart'])
    assert capsys.readouterr().out.split() == amd_mm.list_configs('quickstart')
