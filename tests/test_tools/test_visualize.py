"""tools/visualize: pictures and tables of checkpoints, and errors in a sentence."""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from amd_mm.checkpoints import from_amd_mm
from amd_mm.datasets.inference import ClipSampling, read_clips
from amd_mm.registry import MODELS
from amd_mm.visualization import before_training
from amd_mm.visualization.before_training import learning_rates, training_samples, training_views
from amd_mm.visualization.reconstruction import BORROWED
from mmengine.config import Config

from ..test_engine.toy import toy_runner
from ..tiny import amd, backbone, videomae
from ..tiny_image import mae
from ..tiny_tinymim import tinymim
from .tool_scripts import TOOLS, load_tool


def work_folder(folder: Path, model: dict) -> Path:
    """A folder as training leaves it: a checkpoint with its config beside it; the checkpoint."""
    torch.manual_seed(0)
    built = MODELS.build(model)
    built.init_weights()
    folder.mkdir(parents=True)
    Config(dict(model=model, default_scope='mmaction')).dump(folder / 'config.py')
    path = folder / 'epoch_1.pth'
    torch.save(dict(state_dict=built.state_dict()), path)
    (folder / 'last_checkpoint').write_text(str(path))
    return path


@pytest.fixture(scope='module')
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of several kinds, in folders of their own."""
    folder = tmp_path_factory.mktemp('models')
    small = backbone(depth=2)
    image = mae()
    image['head'] = dict(type='amd_mm.PixelReconstructionHead', target='pixels')
    cfgs = dict(
        videomae=videomae(backbone=small),
        amd=amd(),
        image=image,
        tinymim=tinymim(),
        bare=amd(rec_weight=0),
        alone=videomae(backbone=backbone(64, 6, 1)),
    )
    found = {name: work_folder(folder / name, cfg) for name, cfg in cfgs.items()}
    (found['alone'].parent / 'last_checkpoint').unlink()  # a file without its config
    return found


@pytest.fixture(scope='module')
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('images') / 'image.png'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (70, 90, 3)))
    return path


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run ``tools/visualize/<name>.py``; its exit code."""
    monkeypatch.syspath_prepend(str(TOOLS / 'visualize'))  # as Python does for a script

    def run(name: str, *arguments: object) -> int:
        return load_tool(f'visualize/{name}').main([str(one) for one in arguments])

    yield run
    for name in ('common', 'sources'):
        sys.modules.pop(name, None)


def read_table(picture: Path) -> list[dict]:
    with picture.with_suffix('.csv').open() as file:
        return list(csv.DictReader(file))


def test_reconstruction(
    tool: Any,
    models: dict,
    image: Path,
    tiny_videos: list,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    out, few = tmp_path / 'new' / 'a.png', ('--frames', 2)  # drawing takes the time
    assert tool('reconstruction', models['amd'], tiny_videos[0], image, '--out', out, *few) == 0
    said = capsys.readouterr().out
    assert '2 inputs of 64 tokens; the student sees 16, the teacher 32' in said
    assert BORROWED in said
    strip = cv2.imread(str(out))
    assert strip.shape[1] > 400 and strip.min() == 0
    ratios = ('--student-ratio', '0.9', '--teacher-ratio', '0.25')
    assert tool('reconstruction', models['amd'], image, '--out', out, *few, *ratios) == 0
    assert 'the student sees 8, the teacher 48' in capsys.readouterr().out
    assert tool('reconstruction', models['image'], image, tiny_videos[0], '--out', out) == 0
    assert BORROWED not in capsys.readouterr().out  # its target is pixels


@pytest.mark.parametrize('name, fmt', [('videomae', 'huggingface'), ('image', 'mae')])
def test_reconstruction_by_a_public_file(
    tool: Any, models: dict, image: Path, tmp_path: Path, name: str, fmt: str
) -> None:
    own, public = models[name], tmp_path / 'public.pth'
    state = torch.load(own, weights_only=True)['state_dict']
    torch.save(dict(model=from_amd_mm(state, fmt).state), public)
    pictures = []
    for call in ((own,), (own.parent / 'config.py', public)):
        out = tmp_path / f'{len(call)}.png'
        assert tool('reconstruction', *call, image, '--out', out, '--frames', 1) == 0
        pictures.append(cv2.imread(str(out)))
    assert np.array_equal(*pictures)


def test_attention_distance(
    tool: Any,
    models: dict,
    image: Path,
    tiny_videos: list,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / 'new' / 'distance.png'
    config = models['videomae'].parent / 'config.py'
    given = [(name, models[name]) for name in ('image', 'videomae', 'tinymim')]
    given.append(('untrained', 'random', config))
    call = [part for model in given for part in ('--model', *model)]
    assert tool('attention_distance', image, tiny_videos[0], '--out', out, *call) == 0
    assert 'videomae: 2 inputs' in capsys.readouterr().out
    assert cv2.imread(str(out)).shape[1] > 1000
    lines = read_table(out)
    assert len(lines) == 4 * 3 + 2 * 3 + 12 * 3 + 2 * 3
    for line in lines:
        assert 0 < float(line['pixels']) < 64
        assert float(line['tokens']) == pytest.approx(float(line['pixels']) / 16)
        assert bool(line['frames']) == (line['model'] in ('videomae', 'untrained'))


def test_cka(
    tool: Any, models: dict, tiny_videos: list, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'new' / 'cka.png'
    config = models['amd'].parent / 'config.py'
    call = ('cka', *tiny_videos[:2], '--out', out, '--student', 'AMD', models['amd'])
    # The config's teacher has random weights and no file.
    assert tool(*call) == 1
    assert 'names no checkpoint of the teacher' in capsys.readouterr().err
    more = ('--student', 'untrained', 'random', config, '--teacher', models['alone'])
    assert tool(*call, *more) == 0
    said = capsys.readouterr().out
    assert '128 patches of 2 inputs, features up to 64 wide' in said
    assert 'AMD: block 2 of the student, 3 of the teacher (aligned' in said
    assert 'untrained: ' not in said
    values = read_table(out)
    assert [line['model'] for line in values] == ['AMD'] * 24 + ['untrained'] * 24
    assert all(0 <= float(line['cka']) <= 1 for line in values)
    assert tool(*call, '--teacher', models['amd'], config) == 0  # the student itself
    same = [float(line['cka']) for line in read_table(out) if line['student'] == line['teacher']]
    assert same == pytest.approx([1] * 4, abs=1e-5)


def test_cka_of_standardised_channels(
    tool: Any, models: dict, tiny_videos: list, tmp_path: Path
) -> None:
    """One channel of 64 is another and varies most: alone it decides, standardised it does not."""
    checkpoint = torch.load(models['alone'], weights_only=True)
    checkpoint['state_dict']['backbone.blocks.5.mlp.layers.1.weight'][0] *= 1000
    changed, out = tmp_path / 'changed.pth', tmp_path / 'cka.png'
    torch.save(checkpoint, changed)
    config = models['alone'].parent / 'config.py'
    call = ('cka', *tiny_videos[:2], '--out', out, '--student', 'changed', changed, config)
    last = []
    for more in ((), ('--standardize',)):
        assert tool(*call, '--teacher', models['alone'], config, *more) == 0
        last.append(float(read_table(out)[-1]['cka']))
    assert last[0] < 0.5 and last[1] > 0.9


def test_cka_with_the_teacher_of_the_config(
    tool: Any, models: dict, tiny_videos: list, tmp_path: Path
) -> None:
    cfg = amd()
    cfg['teacher'].update(checkpoint=str(models['alone']), random_init=False)
    student, out = work_folder(tmp_path / 'named', cfg), tmp_path / 'cka.png'
    assert tool('cka', tiny_videos[0], '--out', out, '--student', 'AMD', student) == 0
    assert len(read_table(out)) == 4 * 6


def test_training_curves(tool: Any, tmp_path: Path) -> None:
    toy_runner(tmp_path, log_processor=dict(window_size=1)).train()
    path = tmp_path / 'new' / 'picture.png'
    assert tool('training_curves', f'toy={tmp_path}', '--out', path) == 0
    wide = cv2.imread(str(path)).shape[1]
    assert tool('training_curves', tmp_path, '--values', 'lr', '--out', path) == 0
    assert cv2.imread(str(path)).shape[1] < wide


@pytest.fixture
def training_config(tmp_path: Path, tiny_videos: list) -> Path:
    """A pre-training config of the tiny videos, 2 views of each, of AMD."""
    (tmp_path / 'train.txt').write_text(''.join(f'{path}\n' for path in tiny_videos))
    pipeline = ClipSampling(8, 1, 1, 64).pipeline()
    Config(
        dict(
            default_scope='mmaction',
            model=amd(),
            train_dataloader=dict(
                batch_size=2,
                num_workers=2,
                persistent_workers=True,
                sampler=dict(type='mmengine.DefaultSampler', shuffle=True),
                collate_fn=dict(type='amd_mm.flatten_views_collate'),
                dataset=dict(
                    type='amd_mm.VideoListDataset',
                    ann_file=str(tmp_path / 'train.txt'),
                    data_prefix=dict(video=''),
                    pipeline=pipeline,
                ),
            ),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            train_cfg=dict(by_epoch=True, max_epochs=10),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, end=2, convert_to_iter_based=True),
                dict(type='CosineAnnealingLR', begin=2, eta_min=0.0, convert_to_iter_based=True),
            ],
        )
    ).dump(tmp_path / 'train.py')
    return tmp_path / 'train.py'


def test_browse_dataset(
    tool: Any, training_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    one, two = tmp_path / 'one.png', tmp_path / 'two.png'
    assert tool('browse_dataset', training_config, '--samples', 1, '--out', one) == 0
    assert '1 clips of (3, 8, 64, 64)' in capsys.readouterr().out
    assert tool('browse_dataset', training_config, '--samples', 2, '--out', two) == 0
    assert cv2.imread(str(two)).shape[0] > 1.5 * cv2.imread(str(one)).shape[0]
    wrong = ('--cfg-options', 'train_dataloader.dataset.colour=red')
    assert tool('browse_dataset', training_config, '--out', one, *wrong) == 1
    assert 'colour' in capsys.readouterr().err


def test_browsed_clips_have_the_colours_of_the_video(
    training_config: Path, tiny_videos: list
) -> None:
    cfg = Config.fromfile(training_config)
    cfg.train_dataloader.sampler.shuffle = False
    clips, names = training_samples(cfg, 1)
    frames = read_clips(MODELS.build(cfg.model.backbone), tiny_videos[:1], 1)
    torch.testing.assert_close(clips, frames.float() / 255, atol=1e-4, rtol=0)
    assert names == ['clip 1']
    input_, student, teacher = training_views(cfg, clips).values()
    assert (student == input_).float().mean() < (teacher == input_).float().mean() < 1


@pytest.mark.parametrize(
    'label, said',
    [
        ([3], 'clip 1, label 3'),
        ([0.3, 0.0, 0.7], 'clip 1, label 2 (70 %), 0 (30 %)'),
        ([-1], 'clip 1'),
    ],
)
def test_names_of_browsed_clips(label: list, said: str) -> None:
    sample = SimpleNamespace(gt_label=torch.tensor(label))
    assert before_training._name_of(sample, 1) == said


def test_learning_rate(
    tool: Any, training_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    call = ('learning_rate', training_config, '--out', tmp_path / 'lr.png')
    assert tool(*call, '--videos', 80, '--gpus', 4) == 0
    assert '100 iterations, 10 an epoch; highest 0.001' in capsys.readouterr().out
    rates = learning_rates(Config.fromfile(training_config), 10)
    assert rates[0] == pytest.approx(1e-4) and rates[20] == pytest.approx(1e-3)
    expected = 0.5e-3 * (1 + np.cos(np.pi * np.arange(80) / 80))
    np.testing.assert_allclose(rates[20:], expected, rtol=1e-6)


@pytest.mark.parametrize(
    'call, said',
    [
        ('attention_distance {tmp}/no.mp4 --model a {amd}', 'there is no video'),
        ('attention_distance {tmp}/bad.mp4 --model a {amd}', 'bad.mp4'),
        ('attention_distance {tmp}/swin.py --model a {amd}', 'neither a video nor an image'),
        ('attention_distance {tmp}/empty --model a {amd}', '{tmp}/empty'),
        ('attention_distance {video} --model a {amd} {tmp}/swin.py', 'SwinTransformer3D'),
        ('attention_distance {video} --model {amd}', 'give NAME CHECKPOINT'),
        ('attention_distance {video} --model a {amd} --model a {amd}', 'the same name'),
        ('attention_distance {video} --model a random', 'give random CONFIG'),
        ('attention_distance {video} --model a {amd} --out x.what', 'has to end in one of .png'),
        ('cka {video} --student a {videomae}', 'has no teacher'),
        ('cka {video} --student a {videomae} --teacher {image}', 'the grids (time'),
        ('cka {video} --student a {videomae} --rows 1', 'at least 2'),
        ('reconstruction {amd} {video} --out x.avi', 'has to end in one of'),
        ('reconstruction {amd}', 'at least one input'),
        ('reconstruction {amd} {tmp}/bad.png', 'cannot read {tmp}/bad.png'),
        ('reconstruction {alone} {video}', 'there is no config beside'),
        ('reconstruction {config} {tmp}/encoder.pth {video}', 'decoder'),
        ('reconstruction {tinymim} {video}', 'cannot reconstruct'),
        ('reconstruction {bare} {video}', 'cannot reconstruct'),
        ('reconstruction {amd} {video} --teacher-ratio 0.9', 'teacher_ratio=0.9'),
        ('reconstruction {image} {video} --out x.gif', 'images do not move'),
        ('training_curves {tmp}', 'give the work_dir of a training run'),
        ('training_curves a={tmp} a={tmp}', 'are both named a'),
    ],
)
def test_errors(
    tool: Any,
    models: dict,
    tiny_videos: list,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    call: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path('empty').mkdir()
    for name in ('bad.mp4', 'bad.png'):
        Path(name).write_bytes(b'no picture')
    Path('swin.py').write_text(
        "model = dict(backbone=dict(type='mmaction.SwinTransformer3D'), type='x')"
    )
    state = torch.load(models['videomae'], weights_only=True)['state_dict']
    torch.save({k: v for k, v in state.items() if k.startswith('backbone.')}, 'encoder.pth')
    config = models['videomae'].parent / 'config.py'
    places = dict(models, tmp=tmp_path, video=tiny_videos[0], config=config)
    arguments = call.format(**places).split()
    if '--out' not in arguments:
        arguments += ['--out', 'x.png']
    assert tool(*arguments) == 1
    assert said.format(**places) in capsys.readouterr().err
    assert not list(tmp_path.glob('x.*'))
