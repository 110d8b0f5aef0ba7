"""Feature files and probes: the tools as a user calls them."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import amd_mm
import numpy as np
import pytest
import torch
from amd_mm.apis import load_encoder
from amd_mm.datasets import open_video
from amd_mm.datasets.inference import Clips, ClipSampling
from amd_mm.errors import ConfigError
from amd_mm.evaluation import features
from amd_mm.evaluation.features import FeatureFolder, file_names
from amd_mm.inference import Model

from tests.conftest import write_video
from tests.test_tools.tool_scripts import load_tool

from . import models

EXTRACT, PROBE = load_tool('extract_features'), load_tool('probe')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return models.save(models.pretrained(), tmp_path_factory.mktemp('model') / 'model.pth')


def extract(*arguments):
    return EXTRACT.main([*map(str, arguments), '--frames', '8', '--workers', '0'])


def arrays(folder):
    return {
        str(path.relative_to(folder)): np.load(path) for path in sorted(Path(folder).rglob('*.npy'))
    }


# -- names and folders ------------------------------------------------------


def test_names_of_files():
    assert file_names(['b/x y.mp4', 'clip 1.0', 'a.mp4', 'a.avi', 'a.mp4']) == [
        'b/x y.npy',
        'clip 1.0.npy',
        'a.mp4.npy',
        'a.avi.npy',
        'a.mp4.npy',
    ]
    assert file_names(['/data/../x.mp4']) == ['data/x.npy']
    with pytest.raises(ConfigError, match='both be written to x.npy'):
        file_names(['../x.mp4', 'x.mp4'])


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    folder = FeatureFolder(tmp_path / 'out', dict(a=1))

    def fail(file, values):
        file.write(b'half')
        raise KeyboardInterrupt

    monkeypatch.setattr(features.np, 'save', fail)
    with pytest.raises(KeyboardInterrupt):
        folder.save('x/y.npy', np.zeros(3))
    assert not folder.has('x/y.npy')
    assert not list((tmp_path / 'out' / 'x').iterdir())


def test_folders_are_not_mixed(tmp_path):
    FeatureFolder(tmp_path / 'out', dict(clips=1, stride=None))
    FeatureFolder(tmp_path / 'out', dict(clips=1, stride=None))
    with pytest.raises(ConfigError, match='clips: 1 there, 2 asked'):
        FeatureFolder(tmp_path / 'out', dict(clips=2, stride=None))
    (tmp_path / 'foreign').mkdir()
    np.save(tmp_path / 'foreign/x.npy', np.zeros(1))
    with pytest.raises(ConfigError, match='without features.json'):
        FeatureFolder(tmp_path / 'foreign', dict(clips=1))


# -- tools/extract_features.py ----------------------------------------------


def test_a_folder(tmp_path, tiny_video_folder, checkpoint, capsys):
    out = tmp_path / 'out'
    call = (checkpoint, tiny_video_folder, '--out', out, '--clips', 3)
    assert extract(*call, '--batch-size', 4) == 0
    made = arrays(out)
    assert list(made) == [
        'a.npy',
        'b.npy',
        'more/c.npy',
        'more/deep/d clip 1.npy',
        'more/e.npy',
        'z/f.npy',
    ]
    assert all(one.shape == (3, 64) and one.dtype == np.float32 for one in made.values())
    # The same one by one, with another batch: nothing is mixed up.
    single, video = tmp_path / 'single', tiny_video_folder / 'more/deep/d clip 1.mp4'
    assert extract(checkpoint, video, '--out', single, '--clips', 3) == 0
    np.testing.assert_allclose(
        arrays(single)['d clip 1.npy'], made['more/deep/d clip 1.npy'], rtol=1e-4, atol=1e-5
    )
    assert json.loads((out / 'features.json').read_text())['clips'] == 3
    # Again: only what is missing.
    (out / 'b.npy').unlink()
    before = (out / 'a.npy').stat().st_mtime_ns
    assert extract(*call) == 0
    assert '6 videos, 5 of them done before' in capsys.readouterr().out
    assert (out / 'b.npy').is_file()
    assert (out / 'a.npy').stat().st_mtime_ns == before
    # With other settings: nothing.
    assert extract(checkpoint, tiny_video_folder, '--out', out) == 2
    assert 'clips: 3 there, 1 asked for' in capsys.readouterr().err


def test_frames_per_second(tmp_path, tiny_video_folder, checkpoint):
    """A rate of half of the video's is a stride of two."""
    video = tiny_video_folder / 'a.mp4'
    with open_video(str(video)) as reader:
        rate = reader.avg_fps
    for name, options in (('fps', ('--fps', rate / 2)), ('stride', ('--stride', 2))):
        assert extract(checkpoint, video, '--out', tmp_path / name, *options) == 0
    (by_rate,), (by_stride,) = (arrays(tmp_path / name).values() for name in ('fps', 'stride'))
    np.testing.assert_array_equal(by_rate, by_stride)
    settings = json.loads((tmp_path / 'fps/features.json').read_text())
    assert settings['stride'] == dict(fps=rate / 2)


def test_a_list_with_bad_videos(tmp_path, tiny_video_folder, checkpoint, capsys):
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    shutil.copy(tiny_video_folder / 'a.mp4', tmp_path / 'good one.mp4')
    (tmp_path / 'list.txt').write_text('good one.mp4 3\nbad.mp4 1\ngone.mp4 2\n')
    call = (checkpoint, tmp_path / 'list.txt', '--data-root', tmp_path, '--out', tmp_path / 'out')
    assert extract(*call, '--tokens') == 0
    (values,) = arrays(tmp_path / 'out').values()
    assert values.shape == (1, 4, 4, 4, 64)
    bad = (tmp_path / 'out/unreadable.txt').read_text().splitlines()
    assert [line.split('\t')[0] for line in bad] == ['bad.mp4', 'gone.mp4']
    assert bad[1].endswith('no such file')
    assert '1 written, 2 unreadable' in capsys.readouterr().out
    assert extract(*call, '--tokens', '--strict') == 1
    (tmp_path / 'list.txt').write_text('bad.mp4\n')
    assert extract(*call, '--tokens') == 1
    (tmp_path / 'list.txt').write_text('good one.mp4\n')
    assert extract(*call, '--tokens') == 0
    assert not (tmp_path / 'out/unreadable.txt').exists()


def test_a_name_that_is_not_utf8(tmp_path, checkpoint, name_not_utf8, capsys):
    (tmp_path / name_not_utf8).write_bytes(b'no video')
    assert extract(checkpoint, tmp_path, '--out', tmp_path / 'out') == 1
    assert 'unreadable: caf\ufffd.mp4: ' in capsys.readouterr().out


def test_wrong_calls(tmp_path, tiny_video_folder, checkpoint, capsys):
    out = ('--out', tmp_path / 'out')
    for call, said in (
        ((checkpoint, tmp_path / 'no.mp4'), 'there is no video'),
        ((checkpoint, tmp_path / 'no.txt'), 'no such list file'),
        ((checkpoint, tmp_path), 'no videos in'),
        ((tmp_path / 'no.pth', tiny_video_folder), 'There is no file'),
        (('no.py', checkpoint, tiny_video_folder), 'there is no config file'),
        ((checkpoint, tiny_video_folder, '--device', 'toaster'), 'toaster'),
        ((checkpoint, tiny_video_folder, '--size', '65'), 'multiple of'),
    ):
        assert extract(*call, *out) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


# -- amd_mm.embed -----------------------------------------------------------


def test_windows_and_their_times(tmp_path, tiny_video_folder, checkpoint, capsys):
    """In the files of each video, and as one table that the last of two shards writes."""
    model = Model(load_encoder(checkpoint, frames=8))
    windows = dict(window='0.4s', step='0.2s', workers=0, batch_size=3)
    found = amd_mm.embed(tiny_video_folder, model, tmp_path / 'out', **windows)
    assert (found.videos, found.written, found.unreadable) == (6, 6, [])
    assert f'{6 / found.seconds:.2f} videos/s' in capsys.readouterr().out
    video = tiny_video_folder / 'more/c.mp4'  # 24 frames of 40 ms
    values = np.load(tmp_path / 'out/more/c.npy')
    expected = model.features(video, window='0.4s', step='0.2s')
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    times = np.loadtxt(tmp_path / 'out/more/c.csv', delimiter=',', skiprows=1)
    np.testing.assert_allclose(times, [(0, 0.4), (0.2, 0.6), (0.4, 0.8), (0.56, 0.96)])
    table = tmp_path / 'all.npz'
    for shard in ('2/2', '1/2'):
        assert not table.exists()
        part = amd_mm.embed(tiny_video_folder, model, table, shard=shard, **windows)
        assert part.videos == part.written == 3
    made = np.load(table)
    mine = made['paths'] == 'more/c.mp4'
    np.testing.assert_allclose(made['features'][mine], values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made['times'][mine], times)
    assert len(set(made['paths'])) == 6


@pytest.mark.parametrize('kind', ['npz', 'parquet', 'h5'])
def test_one_file(kind, tmp_path, tiny_videos, checkpoint):
    """Of paths, one of which is no video: it is left out."""
    model, out = Model(load_encoder(checkpoint, frames=8)), tmp_path / f'x.{kind}'
    if kind == 'parquet':
        parquet = pytest.importorskip('pyarrow.parquet')
    elif kind == 'h5':
        h5py = pytest.importorskip('h5py')
    bad = tmp_path / 'bad.mp4'
    bad.write_text('no video')
    found = amd_mm.embed([*tiny_videos[:2], bad], model, out, workers=0)
    assert [name for name, _ in found.unreadable] == [str(bad)]
    if kind == 'npz':
        made = np.load(out)
        paths, times, values = (made[name] for name in ('paths', 'times', 'features'))
    elif kind == 'h5':
        with h5py.File(out) as file:
            paths, times, values = file['paths'].asstr()[:], file['times'][:], file['features'][:]
    else:
        rows = parquet.read_table(out).to_pydict()
        paths, values = (np.array(rows[name]) for name in ('path', 'feature'))
        times = np.stack([rows['start'], rows['end']], 1)
    assert paths.tolist() == tiny_videos[:2] and values.shape == (2, 64)
    expected = torch.cat(model.features(tiny_videos[:2], sampling=ClipSampling(8, 4, 1, 64)))
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    assert (times[:, 1] > times[:, 0]).all()
    for wrong, said in ((dict(shard='3/2'), 'second of eight'), (dict(tokens=True), 'a folder')):
        with pytest.raises(ConfigError, match=said):
            amd_mm.embed(tiny_videos, model, out, **wrong)


@pytest.mark.parametrize('name', ['x.h5', 'x.parquet'])
def test_a_missing_package_is_named_first(name, tmp_path, tiny_videos, checkpoint, monkeypatch):
    monkeypatch.setattr(features, 'find_spec', lambda _: None)
    package = dict(h5='h5py', parquet='pyarrow')[name.partition('.')[2]]
    model = Model(load_encoder(checkpoint, frames=8))
    with pytest.raises(ConfigError, match=f'pip install {package}'):
        amd_mm.embed(tiny_videos, model, tmp_path / name)
    assert not list(tmp_path.glob('x*'))


# -- tools/probe.py ---------------------------------------------------------


@pytest.fixture(scope='module')
def labelled(tmp_path_factory):
    """Two classes, each a texture with small changes; a config for them."""
    folder = tmp_path_factory.mktemp('labelled')
    for part in ('train', 'val'):
        lines = []
        for index in range(12):
            name = f'{part}/{index} clip.mp4'
            write_video(folder / name, frames=12 + index, seed=3 + index % 2)
            lines.append(f'{name} {index % 2}\n')
        (folder / f'{part}.txt').write_text(''.join(lines))
    pipeline = ClipSampling(8, 1, 1, 64).pipeline()

    def loader(part):
        return dict(
            dataset=dict(
                type='amd_mm.VideoListDataset',
                data_root=str(folder),
                ann_file=f'{part}.txt',
                data_prefix=dict(video=''),
                test_mode=part == 'val',
                pipeline=pipeline if part == 'val' else [],
            )
        )

    cfg = dict(
        model=models.recognizer_cfg(),
        train_dataloader=loader('train'),
        val_dataloader=loader('val'),
        work_dir=str(folder / 'work'),
    )
    text = '\n'.join(f'{key} = {value!r}' for key, value in cfg.items())
    (folder / 'config.py').write_text(text)
    return folder


def probe(*arguments):
    return PROBE.main([*map(str, arguments), '--workers', '0'])


def test_probes_tell_the_classes_apart(labelled, checkpoint, capsys):
    config = labelled / 'config.py'
    (labelled / 'work/probe.json').unlink(missing_ok=True)
    assert probe(config, checkpoint, '--neighbours', 1, 3) == 0
    out = capsys.readouterr().out
    assert '| linear' in out and '12 training and 12 test videos' in out
    (entry,) = json.loads((labelled / 'work/probe.json').read_text())
    assert [one['probe'] for one in entry['results']] == [
        'nearest neighbours',
        'nearest neighbours',
        'linear',
    ]
    assert all(one['top1'] == 1 for one in entry['results'])
    # The features are the encoder's.
    (path,) = (labelled / 'work/features').glob('*/test/val/0 clip.npy')
    model = Model(load_encoder(checkpoint, frames=8))
    expected = model.features(labelled / 'val/0 clip.mp4', sampling=ClipSampling(8, 1, 1, 64))
    np.testing.assert_allclose(np.load(path), expected.numpy(), rtol=1e-4, atol=1e-5)
    # Few labels: the features are there, the results are added.
    few = 'train_dataloader.dataset.samples_per_class=2'
    call = (config, checkpoint, '--neighbours', 1, '--no-linear', '--cfg-options', few)
    assert probe(*call) == 0
    out = capsys.readouterr().out
    assert '4 videos, features of 4 are there' in out
    assert '4 training and 12 test videos' in out
    first, second = json.loads((labelled / 'work/probe.json').read_text())
    assert first == entry and second['train_videos'] == 4


def test_an_attentive_probe_keeps_tokens(labelled, checkpoint, tmp_path, capsys):
    call = (labelled / 'config.py', checkpoint, '--neighbours', 1, '--no-linear', '--attentive')
    work = ('--work-dir', tmp_path, '--epochs', 30)
    assert probe(*call, *work) == 0
    assert '| attentive' in capsys.readouterr().out
    (entry,) = json.loads((tmp_path / 'probe.json').read_text())
    assert entry['results'][-1]['probe'] == 'attentive' and entry['results'][-1]['top1'] == 1
    (path,) = (tmp_path / 'features').glob('*-tokens/test/val/0 clip.npy')
    tokens = np.load(path)
    assert tokens.dtype == np.float16 and tokens.ndim == 5  # (views, T', H', W', C)
    (path,) = (tmp_path / 'features').glob('*[!s]/test/val/0 clip.npy')
    np.testing.assert_allclose(
        tokens.astype(np.float32).mean((1, 2, 3)), np.load(path), rtol=1e-2, atol=1e-2
    )


def test_probes_name_an_unknown_option_of_the_dataset(labelled, checkpoint, capsys):
    options = ('--cfg-options', 'train_dataloader.dataset.colour=red')
    assert probe(labelled / 'config.py', checkpoint, *options) == 2
    error = capsys.readouterr().err
    assert 'config.py' in error and 'colour' in error


def test_probes_refuse_what_has_no_labels(labelled, checkpoint, tmp_path, capsys):
    shutil.copy(labelled / 'config.py', tmp_path / 'config.py')
    (tmp_path / 'bare.txt').write_text('a.mp4\n')
    bare = f'train_dataloader.dataset.ann_file={tmp_path}/bare.txt'
    options = ('--cfg-options', bare, f'work_dir={tmp_path}/work')
    assert probe(tmp_path / 'config.py', checkpoint, *options) == 2
    assert 'a probe needs one label' in capsys.readouterr().err
    assert probe(tmp_path / 'config.py', checkpoint, '--views', 'test') == 2
    assert 'has no test_dataloader' in capsys.readouterr().err
    assert probe(tmp_path / 'no.py', checkpoint) == 2
    assert 'there is no config file' in capsys.readouterr().err


def test_workers_read_the_next_batch_while_one_is_encoded(tmp_path: Path) -> None:
    seen = tmp_path / 'seen'
    seen.mkdir()
    found = []

    def read(index: int) -> Iterator[Clips]:
        (seen / str(index)).touch()
        yield Clips(torch.zeros(1, 3, 2, 4, 4, dtype=torch.uint8), np.zeros((1, 2)))

    def encode(clips: torch.Tensor) -> torch.Tensor:
        end = time.monotonic() + 10
        while not found and len(list(seen.iterdir())) < 8 and time.monotonic() < end:
            time.sleep(0.01)
        found.append(len(list(seen.iterdir())))
        return torch.zeros(len(clips), 5)

    names = [f'{index}.npy' for index in range(12)]
    folder = features.FeatureFolder(tmp_path / 'out', {})
    assert features.extract(encode, read, names, folder, batch_size=4, workers=1, clips=1) == []
    assert found[0] >= 8 and all(folder.load(name).shape == (1, 5) for name in names)
