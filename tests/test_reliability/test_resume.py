"""A run killed in the middle and resumed equals one that was not."""

import json
import os
import signal
import subprocess
import sys
import time

import torch
from mmengine.config import Config

from tests.test_configs.shrink import CONFIGS, REPOSITORY, make_data, shrink

EPOCHS, PER_EPOCH = 3, 8
CLOCKS = ('time', 'data_time', 'clips_per_s', 'data_share', 'memory')


def write_config(folder, make_video):
    """A real config, small, with a model that also draws in its forward."""
    data = make_data(folder, make_video)
    for index in range(2 * PER_EPOCH - 4):
        make_video(str(data / f'data/videos/{index} more.mp4'), frames=16)
    cfg = shrink(
        Config.fromfile(
            CONFIGS / 'amd/pretrain/amd_vit-small-p16_vit-base_32xb16v4-16x4x1-200e_folder.py'
        ),
        data,
    )
    cfg.model.backbone.drop_path_rate = 0.2
    cfg.train_cfg.max_epochs = EPOCHS
    warm_up, cosine = cfg.param_scheduler
    warm_up.end = cosine.begin = 1
    cosine.end = EPOCHS
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.interval = 1
    path = folder / 'tiny_resume.py'
    cfg.dump(path)
    return path


def start(config, work_dir, *arguments, own_group=False):
    command = [
        sys.executable,
        str(REPOSITORY / 'tools/train.py'),
        str(config),
        '--work-dir',
        str(work_dir),
        *arguments,
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
        start_new_session=own_group,
    )


def finish(process):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def read_lines(work_dir):
    """{iteration: logged values} of the newest log of a work folder."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = files[-1].read_text().splitlines() if files else []
    curve = {}
    for line in lines:
        try:
            values = json.loads(line)
        except ValueError:  # being written
            continue
        curve[values['iter']] = {key: value for key, value in values.items() if key not in CLOCKS}
    return curve


def equal(mine, theirs):
    if isinstance(mine, torch.Tensor):
        return torch.equal(mine, theirs)
    if isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(equal(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, (list, tuple)):
        return len(mine) == len(theirs) and all(map(equal, mine, theirs))
    return mine == theirs


def test_killed_and_resumed_equals_uninterrupted(tmp_path, make_video):
    config = write_config(tmp_path, make_video)
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    uninterrupted = start(config, whole)
    killed = start(config, broken)
    deadline = time.time() + 200
    # In the middle of the second epoch.
    while len(read_lines(broken)) < PER_EPOCH + 3:
        assert time.time() < deadline and killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    first_part = read_lines(broken)
    assert len(first_part) < EPOCHS * PER_EPOCH
    saved = [path.name for path in broken.glob('*.pth')]
    finish(uninterrupted)

    time.sleep(1)  # the log folder is named by the second
    output = finish(start(config, broken, '--resume'))
    assert 'resumed epoch' in output and saved

    expected, second_part = read_lines(whole), read_lines(broken)
    assert len(expected) == EPOCHS * PER_EPOCH
    resumed_at = min(second_part) - 1
    assert resumed_at in (PER_EPOCH, 2 * PER_EPOCH)
    for curve in (first_part, second_part):
        for step, values in curve.items():
            assert values == expected[step], step
    assert max(second_part) == EPOCHS * PER_EPOCH

    last = f'epoch_{EPOCHS}.pth'
    mine, theirs = (torch.load(folder / last, weights_only=False) for folder in (broken, whole))
    assert equal(mine['state_dict'], theirs['state_dict'])
    assert equal(mine['optimizer']['state'], theirs['optimizer']['state'])
