"""From files to an mAP, through the real config and the real tools."""

import re
from pathlib import Path

import pytest
from mmengine.runner import Runner

from ..test_tools.tool_scripts import load_tool
from .needed import skip_without_mmdet
from .people import ACTIONS, make_people
from .tiny_detector import tiny_config

EPOCHS = 5


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Config and metrics of a run: before training, and after."""
    skip_without_mmdet()
    folder = tmp_path_factory.mktemp('run')
    train = make_people(folder / 'train', videos=24, seed=0)
    val = make_people(folder / 'val', videos=8, seed=1)
    cfg = tiny_config(train, val, folder / 'work')
    cfg.randomness = dict(seed=1)
    cfg.train_dataloader.batch_size = 8
    cfg.optim_wrapper.optimizer.lr = 3e-3
    cfg.optim_wrapper.paramwise_cfg.update(num_layers=2, decay_rate=1.0)
    cfg.train_cfg.update(max_epochs=EPOCHS, val_interval=EPOCHS)
    cfg.param_scheduler[0].end = cfg.param_scheduler[1].begin = 2
    cfg.param_scheduler[1].end = EPOCHS
    runner = Runner.from_cfg(cfg)
    before = runner.test()['mAP/overall']
    runner.train()
    after = runner.message_hub.get_scalar('val/mAP/overall').current()
    return cfg, before, after


def test_training_raises_map(trained):
    _, before, after = trained
    # Three actions, about equally frequent: chance is a third.
    assert before < 0.6
    assert after > 0.85


def test_tool_reports_each_action(trained, tmp_path, monkeypatch):
    cfg, _, after = trained
    config = tmp_path / 'people.py'
    cfg.dump(config)
    (checkpoint,) = Path(cfg.work_dir).glob('best_mAP_overall_*.pth')
    monkeypatch.chdir(tmp_path)
    load_tool('test').main([str(config), str(checkpoint), '--work-dir', str(tmp_path / 'tested')])
    (log,) = (tmp_path / 'tested').rglob('*.log')
    found = {
        name: float(value) for name, value in re.findall(r'mAP/(\w+): ([\d.]+)', log.read_text())
    }
    actions = [f'{label}_{name}' for label, name in ACTIONS.items()]
    assert set(actions) < set(found)
    assert found['overall'] == pytest.approx(after, abs=1e-4)
    mean = sum(found[name] for name in actions) / len(actions)
    assert found['overall'] == pytest.approx(mean, abs=2e-4)
    # Nothing is left in the working directory.
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ['people.py', 'tested']
