"""Names and headers of configs state what the configs have."""

import re
from pathlib import Path

import pytest

from .shrink import CONFIGS, REPOSITORY, all_configs, read_once, views_of

pytestmark = pytest.mark.no_cover
# configs/README.md explains them.
NAME = re.compile(
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)(v(?P<views>\d+))?-'
    r'((?P<frames>\d+)x(?P<stride>\d+)x(?P<clips>\d+)-|'
    r'sparse(?P<segments>\d+)-)?(?P<epochs>\d+)e_(?P<data>[\w-]+)$'
)
NAMED = {path: NAME.search(path.stem) for path in all_configs()}
NAMELESS = ('ablation', 'quickstart', 'quickstart_image')
# By the last part of a name.
DATA = dict(
    k400='data/kinetics400',
    sthv2='data/sthv2',
    ucf101='data/ucf101',
    hmdb51='data/hmdb51',
    in1k='data/imagenet/train',
    folder='data/videos',
)
HEADER = re.compile(
    r'(?P<gpus>\d+) GPUs x (?P<batch>\d+) (videos|images)( x (?P<views>\d+) views)?'
    r' = (?P<total>\d+) (clips|images) per step( at lr (?P<lr>\d+(\.\d+)?(e-\d+)?))'
)
ACCUMULATED = re.compile(r'On (\d+) GPUs, add optim_wrapper.accumulative_counts=(\d+)')
# Of a shell, with its continued lines.
COMMAND = re.compile(r'dist_train\.sh (?P<config>\S+) (?P<gpus>\d+)\b.*')


def header(path: Path) -> str:
    """The comment at the top of a config, as one line."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.lstrip('# '))
    return ' '.join(lines)


def test_every_config_has_a_name_that_is_read():
    for path, name in NAMED.items():
        folders = path.relative_to(CONFIGS).parts
        assert bool(name) != any(f in NAMELESS for f in folders), path


@pytest.mark.parametrize(
    'path', [path for path, name in NAMED.items() if name], ids=lambda path: path.stem
)
def test_name_and_header_state_what_the_config_has(path):
    cfg, name = read_once(path), NAMED[path]
    check_batch_and_epochs(cfg, name)
    check_clips(cfg, name)
    check_data(cfg, name)
    if said := HEADER.search(header(path)):
        check_header(cfg, said)
        for fewer, counts in ACCUMULATED.findall(header(path)):
            assert int(fewer) * int(counts) == int(said['gpus'])
    else:  # a few lines over another config, whose header says it
        assert "\n_base_ = '" in path.read_text() or '-fsdp' in path.stem


def check_batch_and_epochs(cfg, name):
    batch, views = cfg.train_dataloader.batch_size, views_of(cfg)
    assert (batch, views) == (int(name['batch']), int(name['views'] or 1))
    assert cfg.auto_scale_lr.base_batch_size == int(name['gpus']) * batch
    assert not cfg.auto_scale_lr.enable
    assert cfg.train_cfg.max_epochs == int(name['epochs'])
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.end == cosine.begin < cfg.train_cfg.max_epochs
    assert 'end' not in cosine  # train_cfg.max_epochs


def check_clips(cfg, name):
    loaders = (cfg.get(f'{part}_dataloader') for part in ('train', 'val', 'test'))
    clips = [step for one in loaders if one for step in one.dataset.pipeline if 'clip_len' in step]
    assert bool(clips) == bool(name['frames'] or name['segments'])  # else images
    for clip in clips:
        assert clip.clip_len == int(name['frames'] or name['segments'])
        if name['segments']:
            assert clip.type == 'amd_mm.SparseSampleFrames'
        else:
            assert clip.frame_interval == int(name['stride'])
    if clips:  # the first is of training
        assert clips[0].get('num_clips', 1) == int(name['clips'] or 1)


def check_data(cfg, name):
    dataset = cfg.train_dataloader.dataset
    where, _, how = name['data'].partition('-')
    text = str(dataset.to_dict())
    if where in ('ava22', 'ava'):
        assert ('data/ava/' if where == 'ava22' else 'data/ava_kinetics/') in text
    else:
        assert dataset.data_root == DATA[where]
    assert (dataset.type == 'amd_mm.VideoFolderDataset') == (where == 'folder')
    assert ('RawFrameDecode' in text) == how.endswith('rawframes')


def check_header(cfg, said):
    batch, views = int(said['batch']), int(said['views'] or 1)
    assert (batch, views) == (cfg.train_dataloader.batch_size, views_of(cfg))
    assert int(said['total']) == int(said['gpus']) * batch * views
    assert int(said['gpus']) * batch == cfg.auto_scale_lr.base_batch_size
    assert float(said['lr']) == cfg.optim_wrapper.optimizer.lr


def test_no_variable_can_be_mistaken_for_an_option():
    """``--cfg-options`` changes nothing that a variable was used for, so variables are private."""
    hosts = (dict, list, type(None))
    for path in all_configs():
        for key, value in read_once(path).items():
            known = key in ('default_scope', 'log_level', 'resume', 'runner_type')
            assert key.startswith('_') or known or isinstance(value, hosts), (path, key)


def test_commands_for_other_numbers_of_gpus_adapt_the_lr():
    checked = set()
    pages = [REPOSITORY / 'README.md']
    for folder in ('configs', 'docs', 'tools'):
        pages += sorted((REPOSITORY / folder).rglob('*.md'))
    for page in pages:
        text = re.sub(r'\\\n\s*', '', page.read_text())
        for command in COMMAND.finditer(text):
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
