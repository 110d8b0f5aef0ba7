"""Sharded and wrapped training compute what one process does."""

import logging
import tempfile

import pytest
import torch
from amd_mm.engine.strategies import GuardedFSDPStrategy, wrap_classes
from amd_mm.errors import ConfigError
from amd_mm.models import AMD
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODEL_WRAPPERS, RUNNERS
from mmengine.runner import CheckpointLoader

from tests import tiny
from tests.test_configs.shrink import CONFIGS, shrink

from .test_distributed import batch_of, draw_from_content, make_clips, on_two_processes

FSDP = 'many_gpus/amd_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400-fsdp.py'
PLAIN = 'amd/pretrain/amd_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400.py'
STEPS = 4
shards = pytest.mark.skipif(torch.__version__ < (2, 2), reason='PyTorch 2.1 has no FSDP on CPUs')


def optim_cfg(counts=1):
    """The recipe's optimiser with strong decay and hard clipping."""
    cfg = Config.fromfile(CONFIGS / PLAIN).optim_wrapper
    cfg.update(precision='fp32', accumulative_counts=counts)
    # eps: no amplification of rounding where there is hardly a gradient.
    cfg.optimizer.update(lr=1e-2, weight_decay=0.5, eps=1e-3)
    cfg.clip_grad.max_norm = 0.1
    return cfg


def train(model, wrapper, clips, counts):
    """[loss of a step], with ``counts`` batches a step."""
    losses = []
    for _ in range(STEPS):
        parts = [
            model.train_step(batch_of(part), wrapper)['loss'].item() for part in clips.chunk(counts)
        ]
        losses.append(sum(parts) / counts)
    return losses


def on_one_process():
    model = tiny.build(tiny.amd())
    wrapper = build_optim_wrapper(model, optim_cfg())
    losses = train(model, wrapper, make_clips(), 1)
    return losses, {name: value.detach() for name, value in model.state_dict().items()}


def with_ddp(clips, counts):
    cfg = Config.fromfile(CONFIGS / PLAIN).model_wrapper_cfg
    model = MODEL_WRAPPERS.build(
        cfg, default_args=dict(module=tiny.build(tiny.amd()), device_ids=None)
    )
    wrapper = build_optim_wrapper(model, optim_cfg(counts))
    wrapper.initialize_count_status(model, 0, STEPS * counts)
    losses = train(model, wrapper, clips, counts)
    return losses, model.module.state_dict()


def with_fsdp(clips, counts):
    settings = Config.fromfile(CONFIGS / FSDP).strategy
    assert settings.pop('type') == 'amd_mm.GuardedFSDPStrategy'
    strategy = GuardedFSDPStrategy(
        **settings,
        work_dir=tempfile.mkdtemp(),
        env_kwargs=dict(launcher='pytorch', randomness=dict(seed=0)),
        log_kwargs=dict(),
    )
    model, wrapper = strategy.prepare(
        tiny.build(tiny.amd()),
        optim_wrapper=optim_cfg(counts),
        dispatch_kwargs=dict(max_iters=STEPS * counts, init_weights_for_test_or_val=False),
    )
    share = sum(value.numel() for value in model.parameters())
    losses = train(model, wrapper, clips, counts)
    return losses, strategy.model_state_dict(), share


def both_ways(rank):
    logging.disable()
    AMD.draw_partition = draw_from_content
    clips = make_clips().chunk(2)[rank]
    found = {}
    for counts in (1, 2):
        for way in (with_ddp, with_fsdp):
            losses, weights, *share = way(clips, counts)
            found[way.__name__, counts] = (
                losses,
                {name: value.numpy() for name, value in weights.items()},
                share,
            )
    return found


@shards
def test_two_processes_learn_what_one_does(monkeypatch):
    found = on_two_processes(both_ways)
    monkeypatch.setattr(AMD, 'draw_partition', draw_from_content)
    losses, weights = on_one_process()
    assert losses[-1] < 0.9 * losses[0]  # it did learn
    for way, (theirs, state, _) in found[0].items():
        halves = torch.tensor([theirs, found[1][way][0]])
        torch.testing.assert_close(halves.mean(0), torch.tensor(losses), rtol=1e-4, atol=1e-5)
        assert set(state) == set(weights), way
        for name, value in weights.items():
            torch.testing.assert_close(
                torch.from_numpy(state[name]),
                value,
                rtol=1e-4,
                atol=1e-5,
                msg=lambda text: f'{way}, {name}: {text}',
            )
    whole = sum(value.numel() for value in MODELS.build(tiny.amd()).parameters())
    for rank in range(2):
        (share,) = found[rank]['with_fsdp', 1][2]
        assert share < 0.55 * whole


def tiny_config(name, data, work_dir, **changes):
    """A real config, small, of two epochs, as for a launcher."""
    cfg = shrink(Config.fromfile(CONFIGS / name), data)
    cfg.train_dataloader.batch_size = 1
    cfg.optim_wrapper.precision = 'fp32'
    cfg.train_cfg.max_epochs = 2
    warm_up, cosine = cfg.param_scheduler
    warm_up.end = cosine.begin = 1
    cosine.end = 2
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.interval = 1
    cfg.launcher = 'pytorch'
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    cfg.env_cfg.pop('mp_cfg')
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = work_dir.name
    cfg.update(changes)
    if 'runner_type' not in cfg:
        cfg.model_wrapper_cfg.device_ids = None
    return cfg


def logged(runner):
    """What was logged of every step, by name."""
    clocks = ('time', 'data_time', 'clips_per_s', 'data_share')
    return {
        name: values.data[0].tolist()
        for name, values in runner.message_hub.log_scalars.items()
        if name.startswith('train/') and name[6:] not in clocks
    }


@pytest.fixture(scope='module')
def runs(tmp_path_factory, make_video):
    """The logs of several runs on two processes, and their folder."""
    folder = tmp_path_factory.mktemp('sharded')
    root = folder / 'data/kinetics400'
    for index in range(4):
        make_video(str(root / f'videos_train/{index}.mp4'), frames=20, seed=index)
    (root / 'kinetics400_train_list_videos.txt').write_text(
        '\n'.join(f'{index}.mp4 {index}' for index in range(4))
    )

    def run(name, work_dir, **changes):
        cfg = tiny_config(name, folder, folder / work_dir, **changes)
        runner = (
            RUNNERS.build(cfg) if 'runner_type' in cfg else (RUNNERS.get('Runner').from_cfg(cfg))
        )
        runner.train()
        return logged(runner)

    def work(rank):
        logging.disable()
        first = str(folder / 'fsdp' / 'epoch_1.pth')
        return dict(
            ddp=run(PLAIN, 'ddp'),
            fsdp=run(FSDP, 'fsdp'),
            resumed=run(FSDP, 'resumed', resume=True, load_from=first),
            loaded=run(FSDP, 'loaded', load_from=first),
            loaded_plain=run(PLAIN, 'loaded_plain', load_from=first),
        )

    return on_two_processes(work)[0], folder


def assert_same_curves(mine, theirs):
    assert set(mine) == set(theirs) and 'train/grad_norm' in mine
    for name, values in theirs.items():
        torch.testing.assert_close(
            torch.tensor(mine[name]),
            torch.tensor(values),
            rtol=1e-3,
            atol=1e-6,
            msg=lambda text: f'{name}: {text}',
        )


@shards
def test_runs_with_fsdp_log_what_ddp_logs(runs):
    logs, _ = runs
    assert len(logs['ddp']['train/loss']) == 4
    assert_same_curves(logs['fsdp'], logs['ddp'])


@shards
def test_fsdp_resumes_where_it_was(runs):
    logs, folder = runs
    assert_same_curves(logs['resumed'], logs['fsdp'])
    mine, theirs = (
        CheckpointLoader.load_checkpoint(str(folder / name / 'epoch_2.pth'))
        for name in ('resumed', 'fsdp')
    )
    for name, value in theirs['state_dict'].items():
        torch.testing.assert_close(mine['state_dict'][name], value)
    for name, states in theirs['optimizer']['state'].items():
        torch.testing.assert_close(mine['optimizer']['state'][name], states)


@shards
def test_checkpoints_are_those_of_any_run(runs):
    logs, folder = runs
    mine, theirs = (
        CheckpointLoader.load_checkpoint(str(folder / name / 'epoch_2.pth'))
        for name in ('fsdp', 'ddp')
    )
    assert list(mine['state_dict']) == list(theirs['state_dict'])
    for name, value in theirs['state_dict'].items():
        torch.testing.assert_close(mine['state_dict'][name], value, rtol=1e-3, atol=1e-4)
    assert_same_curves(logs['loaded'], logs['loaded_plain'])
    # From trained weights, not from new ones.
    assert logs['loaded']['train/loss'][0] != logs['ddp']['train/loss'][0]
    assert not list((folder / 'fsdp').glob('*.partial'))


def test_blocks_become_units():
    model = MODELS.build(tiny.amd())
    units = [
        name for name, module in model.named_modules() if wrap_classes(module, False, 0, ['Block'])
    ]
    # 4 blocks, 2 of the decoder, a generator of one block for either layer.
    assert len(units) == 8 and 'backbone.blocks.0' in units
    assert wrap_classes(model, True, 0, ['Block'])


def test_checkpoints_in_shards_are_refused(monkeypatch):
    monkeypatch.setattr('amd_mm.engine.strategies.is_distributed', lambda: True)
    strategy = GuardedFSDPStrategy.__new__(GuardedFSDPStrategy)
    strategy._init_state_dict_cfg('local')
    with pytest.raises(ConfigError, match="has to be 'full'"):
        strategy.build_model(tiny.amd())
    monkeypatch.undo()
    with pytest.raises(ConfigError, match='dist_train.sh'):
        strategy.build_model(tiny.amd())
