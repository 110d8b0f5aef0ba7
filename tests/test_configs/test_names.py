"""What names, headers and READMEs say of a config is what the config does."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from mmengine.config import Config

from .shrink import CONFIGS, REPOSITORY, all_configs, views_of

pytestmark = pytest.mark.no_cover
# algorithm_..._GPUs x clips-frames x stride x clips of a video-epochs_data
NAME = re.compile(
    r'_(?P<gpus>\d+)xb(?P<samples>\d+)-'
    r'((?P<frames>\d+)x(?P<stride>\d+)x(?P<clips>\d+)-|'
    r'sparse(?P<segments>\d+)-)?(?P<epochs>\d+)e_(?P<data>[\w-]+)$'
)
NAMED = {path: NAME.search(path.stem) for path in all_configs()}
# Their names say what is different.
NAMELESS = ('ablation', 'quickstart', 'quickstart_image')
# By the last part of a name.
DATA = dict(
    k400='data/kinetics400',
    sthv2='data/sthv2',
    ucf101='data/ucf101',
    hmdb51='data/hmdb51',
    in1k='data/imagenet/train',
)
LABELS = {'10percent': 0.1, '1percent': 0.01}
HEADER = re.compile(
    r'(?P<gpus>\d+) GPUs x (?P<samples>\d+) (clips|images)'
    r'( \((?P<videos>\d+) videos x (?P<views>\d+) samples\))?'
    r' = (?P<total>\d+)( clips)? a step'
    r'( at lr (?P<lr>\d+(\.\d+)?(e-\d+)?))?'
)
ACCUMULATED = re.compile(r'On (\d+) GPUs add optim_wrapper.accumulative_counts=(\d+)')
# Of a shell, with its continued lines.
COMMAND = re.compile(r'dist_train\.sh (?P<config>\S+) (?P<gpus>\d+)\b.*')


class Named(NamedTuple):
    """A config and what its name says."""

    path: Path
    cfg: Config
    name: re.Match

    @property
    def views(self) -> int:
        return views_of(self.cfg)

    @property
    def batch(self) -> int:
        return self.cfg.train_dataloader.batch_size


@pytest.fixture(
    scope='module',
    params=[path for path, name in NAMED.items() if name],
    ids=lambda path: path.stem,
)
def named(request):
    """Each in turn, read once."""
    path = request.param
    return Named(path, Config.fromfile(path), NAMED[path])


def header(path: Path) -> str:
    """The comment on top of a config, as one line."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.lstrip('# '))
    return ' '.join(lines)


def sampling(pipeline: list) -> dict:
    """The transform that chooses the frames of a clip."""
    (found,) = [t for t in pipeline if 'clip_len' in t]
    return found


def test_names_are_read():
    for path, name in NAMED.items():
        folders = path.relative_to(CONFIGS).parts
        assert bool(name) != any(f in NAMELESS for f in folders), path


def test_batch_and_epochs_are_as_named(named):
    path, cfg, name = named
    views = named.views
    gpus, samples = int(name['gpus']), int(name['samples'])
    assert named.batch * views == samples
    assert cfg.auto_scale_lr.base_batch_size * views == gpus * samples
    assert not cfg.auto_scale_lr.enable
    # Pre-training counts samplings, fine-tuning passes over the videos.
    fine_tuned = path.parent.name in ('recognition', 'detection', 'probe')
    epochs = cfg.train_cfg.max_epochs * (1 if fine_tuned else views)
    assert epochs == int(name['epochs'])
    # All of them: no schedule ends early or is cut off.
    ends = [scheduler.end for scheduler in cfg.param_scheduler]
    assert max(ends) == cfg.train_cfg.max_epochs


def test_clips_are_as_named(named):
    _, cfg, name = named
    loaders = [
        cfg[key]
        for key in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        if cfg.get(key)
    ]
    frames = name['frames'] or name['segments']
    if frames is None:  # images
        assert not any('clip_len' in t for t in loaders[0].dataset.pipeline)
        return
    for loader in loaders:
        clip = sampling(loader.dataset.pipeline)
        assert clip.clip_len == int(frames)
        if name['segments']:
            assert clip.type == 'amd_mm.SparseSampleFrames'
        else:
            assert clip.frame_interval == int(name['stride'])
    # Tests of recognition take more, as its recipes say.
    clips = sampling(loaders[0].dataset.pipeline).get('num_clips', 1)
    assert clips == int(name['clips'] or 1)


def test_data_is_as_named(named):
    dataset = named.cfg.train_dataloader.dataset
    where, _, how = named.name['data'].partition('-')
    text = str(dataset.to_dict())
    if where == 'folder':
        images = dataset.type == 'amd_mm.ImageDataset'
        assert dataset.data_root == f'data/{"images" if images else "videos"}'
        assert images or dataset.type == 'amd_mm.VideoFolderDataset'
    elif where.startswith('ava'):
        kinetics = how.startswith('kinetics')
        assert f'data/ava{"_kinetics" if kinetics else ""}/' in text
    else:
        assert dataset.data_root == DATA[where]
    assert ('RawFrameDecode' in text) == how.endswith('rawframes')
    assert dataset.get('label_fraction') == LABELS.get(how)


def test_header_states_the_batch_and_its_lr(named):
    path, cfg, _ = named
    said = HEADER.search(header(path))
    if not said:
        return  # the header of its base does
    views, batch = named.views, named.batch
    gpus, total = int(said['gpus']), int(said['total'])
    assert total == gpus * int(said['samples'])
    assert total == cfg.auto_scale_lr.base_batch_size * views
    assert int(said['samples']) == batch * views
    if said['videos']:
        assert (int(said['videos']), int(said['views'])) == (batch, views)
    if said['lr']:
        assert float(said['lr']) == cfg.optim_wrapper.optimizer.lr
    for fewer, counts in ACCUMULATED.findall(header(path)):
        assert int(fewer) * int(counts) == gpus


@pytest.mark.parametrize(
    'path', sorted((CONFIGS / 'amd/pretrain').glob('*.py')), ids=lambda path: path.stem
)
def test_header_of_amd_has_both_readings_of_the_lr(path):
    said = HEADER.search(header(path))
    assert said and said['total'] == '2048'
    assert float(said['lr']) == 2.4e-3  # as the config, see above
    assert 'value of the public scripts' in header(path)
    assert "the paper's table S1 reads 1.2e-3" in header(path)


def commands() -> list:
    """(page, command) of all that starts a config on a number of GPUs."""
    pages = [REPOSITORY / 'README.md']
    for folder in ('configs', 'docs', 'tools'):
        pages += sorted((REPOSITORY / folder).rglob('*.md'))
    found = []
    for page in pages:
        text = re.sub(r'\\\n\s*', '', page.read_text())
        found += [(page, match) for match in COMMAND.finditer(text)]
    return found


def test_commands_for_other_numbers_of_gpus_say_what_becomes_of_the_lr():
    checked = set()
    for page, command in commands():
        path = REPOSITORY / command['config']
        name = NAME.search(path.stem)
        if not name:
            continue  # CONFIG
        assert path.is_file(), f'{page}: {command[0]}'
        checked.add(page.parent.name)
        if name['gpus'] == command['gpus']:
            continue
        counts = re.search(r'accumulative_counts=(\d+)', command[0])
        made_up = counts and int(counts[1]) * int(command['gpus']) == int(name['gpus'])
        assert made_up or '--auto-scale-lr' in command[0], (
            f'{page}: the lr is for {name["gpus"]} GPUs: {command[0]}'
        )
    assert {'videomae', 'dmae', 'mae'} <= checked
