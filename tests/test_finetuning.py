"""One call from class folders or a csv to a classifier."""

import shutil
from pathlib import Path

import amd_mm
import cv2
import numpy as np
import pytest
import torch
from amd_mm import cli, runs
from amd_mm.errors import ConfigError, VideoError
from amd_mm.finetuning import find_classes, finetune
from mmengine.config import Config
from mmengine.runner import Runner

from .test_distillation import build, save_untrained, train_in_process

SMALL = dict(workers=0, dry_run=True)
CLASSES = ('push left', 'push right', 'lift')


@pytest.fixture(scope='module')
def videos(tmp_path_factory, make_video) -> Path:
    """Five videos in each of three classes, and a hidden folder."""
    root = tmp_path_factory.mktemp('classes')
    for label, name in enumerate(CLASSES):
        for index in range(5):
            make_video(root / name / 'more' / f'{index}.mp4', frames=10, seed=10 * label + index)
    make_video(root / '.cache/0.mp4', frames=10)
    return root


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    """Images in two classes, in ``train`` and ``val``."""
    root = tmp_path_factory.mktemp('images')
    for part, count in dict(train=6, val=2).items():
        for label in range(2):
            (root / part / f'k{label}').mkdir(parents=True)
            for index in range(count):
                noise = np.random.default_rng(index).integers(0, 50, (40, 40, 3))
                pixels = (150 * label + noise).astype(np.uint8)
                cv2.imwrite(str(root / part / f'k{label}/{index}.png'), pixels)
    return root


@pytest.fixture(scope='module')
def model(videos, tmp_path_factory) -> Path:
    return save_untrained(videos, tmp_path_factory.mktemp('model'), frames=8, stride=1)


def test_a_classifier_with_names(videos, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, 'train', train_in_process)
    words = ['finetune', '--data', videos, '--model', model, '--out', tmp_path / 'run']
    more = ['--epochs', 2, '--batch', 4, '--total-batch', 8, '--workers', 0]
    cli.main([str(word) for word in (*words, *more)])
    assert '3 classes' in capsys.readouterr().out
    cfg = Config.fromfile(tmp_path / 'run/finetune.py')
    augments = cfg.model.data_preprocessor.blending.augments
    numbers = [cfg.model.cls_head.num_classes, *(one.num_classes for one in augments)]
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    assert {*numbers, *(one.dataset.num_classes for one in loaders)} == {3}
    assert 'Flip' not in str(cfg.train_dataloader) and 'RandAugment' in str(cfg.train_dataloader)
    assert cfg.optim_wrapper.paramwise_cfg.num_layers == 4
    assert cfg.param_scheduler[1].begin == 0.1 or len(cfg.param_scheduler) == 1  # 5 of 100 epochs
    clip = Runner.build_dataloader(cfg.val_dataloader).dataset[0]['inputs']
    assert clip.shape == (1, 3, 8, 64, 64)
    found = amd_mm.load(tmp_path / 'run').predict(next(videos.rglob('*.mp4')), top_k=3)
    assert sorted(name for name, _ in found) == sorted(CLASSES)
    assert (tmp_path / 'run/labels.txt').read_text().splitlines() == sorted(CLASSES)
    alone = amd_mm.load(tmp_path / 'run/model').predict(next(videos.rglob('*.mp4')), top_k=3)
    assert alone == found
    with pytest.raises(ConfigError, match='has a run'):
        finetune(str(videos), str(model), str(tmp_path / 'run'))


def test_the_weights_are_those_of_the_model(videos, model, tmp_path):
    out = finetune(str(videos), str(model), str(tmp_path / 'run'), no_flip=True, fps=5, **SMALL)
    built = build(Config.fromfile(out / 'finetune.py'))
    saved = torch.load(model / 'iter_1.pth', weights_only=True)['state_dict']
    clip = Runner.build_dataloader(Config.fromfile(out / 'finetune.py').val_dataloader).dataset[0]
    assert clip['inputs'].shape == (1, 3, 8, 64, 64)
    name = 'backbone.blocks.3.attn.proj.weight'
    assert torch.equal(built.state_dict()[name], saved[name])


def test_images_with_parts_of_their_own(images, tmp_path):
    pretrained = save_untrained(images, tmp_path / 'model')
    out = finetune(str(images), str(pretrained), str(tmp_path / 'run'), **SMALL)
    cfg = Config.fromfile(out / 'finetune.py')
    assert 'RandomFlip' in str(cfg.train_dataloader) and cfg.val_evaluator.topk == (1,)
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    classifier = build(cfg)
    losses = classifier(**classifier.data_preprocessor(batch, True), mode='loss')
    assert losses['loss'].isfinite()
    assert len(Runner.build_dataloader(cfg.val_dataloader).dataset) == 4


def test_a_share_of_each_class_validates(videos):
    kind, parts = find_classes(str(videos), 0.4)
    assert kind == 'video' and list(parts['train']) == sorted(CLASSES)
    for name in CLASSES:
        train, val = set(parts['train'][name]), set(parts['val'][name])
        assert (len(train), len(val)) == (3, 2) and not train & val
        assert all((videos / file).is_file() for file in train | val)
    assert find_classes(str(videos), 0.4)[1] == parts
    assert {len(files) for files in find_classes(str(videos), 0.01)[1]['val'].values()} == {1}


def test_mistakes(videos, images, model, tmp_path):
    def attempt(data, words, **arguments):
        with pytest.raises(ConfigError, match=words):
            finetune(str(data), str(model), str(tmp_path / 'run'), **SMALL, **arguments)
        assert not (tmp_path / 'run').exists()

    attempt(videos / 'lift', r"at least two; found \['more'\]")
    attempt(tmp_path, 'has no videos and no images')
    attempt(images, 'is a model of videos, where one of images is needed')
    attempt(videos, 'validation=1.5 must be a share', validation=1.5)
    (tmp_path / 'parts').mkdir()
    for part, name in (('train', 'lift'), ('val', 'push left')):
        (tmp_path / 'parts' / part).mkdir()
        (tmp_path / 'parts' / part / name).symlink_to(videos / name)
    attempt(tmp_path / 'parts', r"val has classes that train has not: \['push left'\]")


def test_a_link_back_is_no_class(videos, tmp_path):
    """As for image folders in training."""
    folder = tmp_path / 'linked'
    shutil.copytree(videos, folder)
    before = find_classes(str(folder))
    (folder / 'up').symlink_to(folder)
    assert find_classes(str(folder)) == before


def table_of(videos: Path, tmp_path: Path, *header: str, start: str = '') -> Path:
    """A csv beside links to the videos, as Windows' programs write it."""
    if not (tmp_path / 'clips').exists():
        (tmp_path / 'clips').symlink_to(videos)
    rows = [
        f'"clips/{name}/more/{index}.mp4",{name}' + f',{"val" if index > 3 else "train"}' * split
        for split in ['split' in header]
        for name in CLASSES
        for index in range(5)
    ]
    path = tmp_path / 'table.csv'
    text = '\r\n'.join([*filter(None, [','.join(header)]), *rows, ''])
    path.write_bytes(start.encode() + text.encode())
    return path


def test_a_csv_gives_what_the_folders_give(videos, model, tmp_path):
    table = table_of(videos, tmp_path, start='\ufeff')
    kind, parts = find_classes(str(videos))
    below = {
        part: {name: [f'clips/{file}' for file in files] for name, files in samples.items()}
        for part, samples in parts.items()
    }
    assert find_classes(str(table)) == (kind, below)
    out = finetune(str(table), str(model), str(tmp_path / 'run'), **SMALL)
    assert (out / 'labels.txt').read_text().splitlines() == sorted(CLASSES)
    cfg = Config.fromfile(out / 'finetune.py')
    dataset = Runner.build_dataloader(cfg.val_dataloader).dataset
    assert len(dataset) == 3 and dataset[0]['inputs'].shape == (1, 3, 8, 64, 64)
    assert cfg.model.cls_head.num_classes == 3 and 'Flip' not in str(cfg.train_dataloader)


def test_a_csv_with_a_split(videos, tmp_path):
    _, parts = find_classes(str(table_of(videos, tmp_path, 'Path', 'class', 'split')))
    assert parts['val'] == {name: [f'clips/{name}/more/4.mp4'] for name in sorted(CLASSES)}
    assert {len(files) for files in parts['train'].values()} == {4}
    absolute = tmp_path / 'absolute.csv'
    lines = [f'{name},"{videos / name}/more/0.mp4"' for name in CLASSES]
    absolute.write_text('\n'.join(['class,path', *lines]))
    assert list(find_classes(str(absolute))[1]['train']) == sorted(CLASSES)


@pytest.mark.parametrize(
    ('lines', 'said'),
    [
        ('path,class\nclips/none.mp4,lift', r'table.csv, line 2: there is no file .*none.mp4'),
        ('clips/lift/more/0.mp4', 'line 1: expected 2 cells'),
        ('clips/lift/more/0.mp4;lift', 'line 1: expected 2 cells'),
        ('file,label', "line 1: 'file' has no ending of a video"),
        ('path,class,fold', 'line 1: the columns are'),
        ('clips/lift/more/0.mp4,lift,test', "line 1: the split 'test' is neither"),
        ('clips/lift/more/0.mp4,lift\nclips/lift/more/0.mp4,x', 'line 2: .* is also in line 1'),
        ('clips/lift/more/0.mp4,lift\nface.png,x', 'line 2: all files must be videos'),
        ('"clips/lift/more/0.mp4,lift', 'line 1: unexpected end'),
        ('path,class', 'has no samples'),
        ('clips/lift/more/0.mp4,lift,train', 'needs both train and val'),
        ('clips/lift/more/0.mp4,lift', r"at least two; found \['lift'\]"),
    ],
)
def test_mistakes_in_a_csv(lines, said, videos, tmp_path):
    table = table_of(videos, tmp_path)
    table.write_text(lines)
    with pytest.raises((ConfigError, VideoError), match=said):
        find_classes(str(table))


def test_no_such_csv():
    with pytest.raises(ConfigError, match=r'there is no file none.csv'):
        find_classes('none.csv')
