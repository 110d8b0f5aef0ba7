"""From the command line to a checked config."""

import argparse
import os
from pathlib import Path

import pytest
from amd_mm.arguments import add_common_arguments
from amd_mm.engine import launch
from amd_mm.errors import CheckpointError, ConfigError
from mmengine.config import Config
from torch.utils.data import DataLoader

from tests import tiny
from tests.test_configs.shrink import CONFIGS
from tests.test_tools.tool_scripts import load_tool

MAIN = 'amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400.py'


def arguments(config, **more):
    defaults = dict(
        config=str(config), work_dir=None, cfg_options=None, launcher='none', local_rank=0
    )
    return argparse.Namespace(**{**defaults, **more})


def main_config(**options):
    return launch.load_config(arguments(CONFIGS / MAIN, cfg_options=options or None))


@pytest.mark.parametrize(
    'options', [dict(log_level='DEBUG'), dict(resume=True), {'model.teacher.checkpoint': 'x'}]
)
def test_other_overrides_pass(options):
    main_config(**options)


def test_a_loader_without_processes():
    cfg = main_config(**{'train_dataloader.num_workers': 0, 'train_dataloader.prefetch_factor': 4})
    options = ('num_workers', 'persistent_workers', 'prefetch_factor')
    DataLoader([], **{name: cfg.train_dataloader[name] for name in options})
    assert main_config().train_dataloader.persistent_workers


def test_amp():
    cfg = main_config(**{'optim_wrapper.precision': 'fp32'})
    launch.use_amp(cfg)
    assert cfg.optim_wrapper.precision == 'bf16'
    for name in ('OptimWrapper', 'mmengine.AmpOptimWrapper'):
        cfg = Config(dict(optim_wrapper=dict(type=name)))
        launch.use_amp(cfg)
        assert cfg.optim_wrapper.type == 'mmengine.AmpOptimWrapper'
        assert cfg.optim_wrapper.loss_scale == 'dynamic'
    with pytest.raises(ConfigError, match='Apex'):
        launch.use_amp(Config(dict(optim_wrapper=dict(type='Apex'))))


def test_learning_rate_scales_with_processes_and_accumulated_batches(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '4')
    for counts, lr, option in ((8, 2.4e-3, True), (1, 2.4e-3 / 8, True), (1, 2.4e-3 / 8, False)):
        # 16 videos x 4 processes x 8 = 512.
        cfg = main_config(**{'optim_wrapper.accumulative_counts': counts})
        cfg.auto_scale_lr.enable = not option
        cfg.launcher = 'pytorch'
        cfg.train_dataloader.batch_size = 16
        launch.scale_learning_rate(cfg, option)
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)
        assert not cfg.auto_scale_lr.enable  # or MMEngine would scale again
        launch.scale_learning_rate(cfg, True)  # as the written config is
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)
        assert launch.scale_learning_rate(cfg, False) is None
    cfg = main_config(**{'train_dataloader.batch_size': 2})
    assert '2 videos a step' in launch.scale_learning_rate(cfg, False)
    assert cfg.optim_wrapper.optimizer.lr == 2.4e-3
    with pytest.raises(ConfigError, match='base_batch_size'):
        launch.scale_learning_rate(Config(dict(optim_wrapper={}, train_dataloader={})), True)


FSDP = 'many_gpus/amd_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400-fsdp.py'


@pytest.mark.parametrize('config, strict', [(MAIN, 'StrictLoadHook'), (FSDP, 'FSDPStrictLoadHook')])
def test_custom_hooks_of_ones_own_add_to_those_of_the_runtime(config, strict):
    cfg = Config.fromfile(CONFIGS / config)
    shipped = cfg.custom_hooks
    assert launch.keep_runtime_hooks(cfg) is None and cfg.custom_hooks == shipped
    stop, mine = dict(type='StopOnSignalHook'), dict(type='EMAHook')
    cfg.custom_hooks = [mine, stop]
    said = launch.keep_runtime_hooks(cfg)
    assert f'gets, {strict}, StepSeedHook' in said and 'Stop' not in said
    assert cfg.custom_hooks == [*shipped[:-1], mine, stop]


def test_schedule_follows_max_epochs():
    def epochs(**options):
        schedule = main_config(**options).param_scheduler
        return [(one.get('begin', 0), one.get('end')) for one in schedule]

    assert epochs() == [(0, 10), (10, None)]  # to the end
    assert epochs(**{'train_cfg.max_epochs': 20}) == [(0, 1), (1, None)]
    # Both given: nothing is scaled.
    given = {'train_cfg.max_epochs': 20, 'param_scheduler.0.end': 5}
    assert epochs(**given) == [(0, 5), (10, None)]


def test_all_numbers_of_a_schedule_follow(tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(
        'train_cfg = dict(max_epochs=100)\n'
        'param_scheduler = [\n'
        '    dict(type="MultiStepLR", milestones=[40, 80], by_epoch=True),\n'
        '    dict(type="CosineAnnealingLR", T_max=90, begin=10, convert_to_iter_based=True),\n'
        '    dict(type="LinearLR", end=500, by_epoch=False),\n'
        ']\n'
    )
    options = {'train_cfg.max_epochs': 5}
    steps, cosine, warm_up = launch.load_config(
        arguments(config, cfg_options=options)
    ).param_scheduler
    assert steps.milestones == [2, 4] and warm_up.end == 500
    assert (cosine.T_max, cosine.begin) == (4.5, 0.5)


@pytest.mark.parametrize('iters, expected', [(60, [(0, 10), (10, None)]), (2, [(0, None)])])
def test_schedule_follows_max_iters(iters, expected):
    config = CONFIGS / 'quickstart/quickstart_videomae_student.py'
    cfg = launch.load_config(arguments(config, cfg_options={'train_cfg.max_iters': iters}))
    found = [(one.get('begin', 0), one.get('end')) for one in cfg.param_scheduler]
    assert found == expected


def test_schedule_that_contradicts_max_epochs_is_named():
    cfg = main_config(**{'train_cfg.max_epochs': 2, 'param_scheduler.1.begin': 10})
    with pytest.raises(ConfigError, match='begins at epoch 10 and ends at epoch 2.*max_epochs'):
        launch.check_training(cfg)


def test_schedule_that_contradicts_max_iters_is_named(tmp_path):
    """In a file of one's own nothing is scaled."""
    base = CONFIGS / 'quickstart/quickstart_videomae_student.py'
    (tmp_path / 'mine.py').write_text(f'_base_ = {str(base)!r}\ntrain_cfg = dict(max_iters=5)')
    cfg = launch.load_config(arguments(tmp_path / 'mine.py'))
    with pytest.raises(ConfigError, match='begins at iteration 100 and ends at iteration 5.*max_'):
        launch.check_training(cfg)


def test_options_of_parameters_are_in_the_log_file_only(tmp_path, capfd):
    """With the fine-tuning's optimiser; test_hooks.py has that of pre-training."""
    schedule = Config.fromfile(CONFIGS / '_base_/schedules/finetune_30e.py')
    model = dict(
        type='mmaction.Recognizer3D',
        backbone=tiny.backbone(),
        cls_head=dict(type='mmaction.TimeSformerHead', num_classes=3, in_channels=48),
    )
    loader = dict(dataset=dict(), batch_size=1)  # not built
    cfg = Config(
        dict(
            model=model,
            work_dir=str(tmp_path),
            train_dataloader=loader,
            train_cfg=schedule.train_cfg,
            optim_wrapper=schedule.optim_wrapper,
            default_scope='mmaction',
        )
    )
    runner = launch.build_runner(cfg)
    runner.build_optim_wrapper(runner.optim_wrapper)
    printed = ''.join(capfd.readouterr())
    (log,) = tmp_path.glob('*/*.log')
    for line in ('set param backbone.blocks.0', 'Param groups = '):
        assert line in log.read_text() and line not in printed
    assert 'Runtime environment' in printed


def test_cpu_processes(monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    cfg = main_config()
    wrapper = dict(cfg.model_wrapper_cfg)
    launch.use_cpu_processes(cfg)
    assert cfg.model_wrapper_cfg == wrapper  # one process
    cfg.launcher = 'pytorch'
    launch.use_cpu_processes(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert cfg.model_wrapper_cfg == dict(wrapper, device_ids=None, broadcast_buffers=False)
    cfg = Config(dict(launcher='pytorch'))  # one that states no wrapper
    launch.use_cpu_processes(cfg)
    assert cfg.model_wrapper_cfg.broadcast_buffers is False
    assert cfg.model_wrapper_cfg.device_ids is None
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg = main_config()
    cfg.launcher = 'pytorch'
    launch.use_cpu_processes(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'nccl'
    assert cfg.model_wrapper_cfg == wrapper


def test_resume(tmp_path):
    cfg = main_config()
    cfg.work_dir = str(tmp_path)
    assert launch.find_resumed(cfg, None) is None
    assert launch.find_resumed(cfg, 'auto') is None
    (tmp_path / 'epoch_5.pth').touch()
    # The folder was moved since the checkpoint was written.
    (tmp_path / 'last_checkpoint').write_text('/long/gone/epoch_5.pth')
    assert launch.find_resumed(cfg, 'auto') == str(tmp_path / 'epoch_5.pth')
    (tmp_path / 'epoch_5.pth').unlink()
    with pytest.raises(CheckpointError, match='epoch_5.pth; remove'):
        launch.find_resumed(cfg, 'auto')
    with pytest.raises(CheckpointError, match='no checkpoint .*epoch_9.pth'):
        launch.find_resumed(cfg, str(tmp_path / 'epoch_9.pth'))


def test_missing_data_and_checkpoints_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = main_config()
    expected = [
        ('train_dataloader.dataset.data_root', 'data/kinetics400'),
        ('train_dataloader.dataset.ann_file', 'data/kinetics400/kinetics400_train_list_videos.txt'),
        ('train_dataloader.dataset.data_prefix.video', 'data/kinetics400/videos_train'),
        ('model.teacher.checkpoint', 'checkpoints/videomae_vit-large_k400-1600e.pth'),
    ]
    for key, path in expected:
        with pytest.raises(ConfigError) as error:
            launch.check_paths(cfg, 'train_dataloader')
        message = str(error.value)
        assert message.startswith(f'{key} of ') and path in message
        assert f'--cfg-options {key}=PATH' in message
        if path.endswith(('.txt', '.pth')):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
        else:
            Path(path).mkdir(parents=True)
    launch.check_paths(cfg, 'train_dataloader')


def test_paths_inside_wrapped_datasets(tmp_path):
    inner = dict(type='X', data_root=str(tmp_path / 'gone'))
    for dataset, key in (
        (dict(type='Repeat', dataset=inner), 'dataset.dataset.data_root'),
        (dict(type='Concat', datasets=[inner]), 'dataset.datasets.0.data_root'),
    ):
        cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
        with pytest.raises(ConfigError, match=f'train_dataloader.{key}'):
            launch.check_paths(cfg, 'train_dataloader')


def test_addresses_are_left_to_who_reads_them():
    cfg = Config(
        dict(
            model=dict(
                backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='https://a.b/c.pth')),
                pretrained='torchvision://resnet50',
            ),
            load_from='s3://bucket/x.pth',
        )
    )
    launch.check_paths(cfg, 'train_dataloader')


def test_deterministic_lets_cublas_be_so(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, 'check_paths', lambda cfg, loader: None)
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', 'to be restored')
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG')
    train = load_tool('train')
    given = [str(CONFIGS / MAIN), '--work-dir', str(tmp_path)]
    train.build_config(train.parse_args(given))
    assert 'CUBLAS_WORKSPACE_CONFIG' not in os.environ
    cfg = train.build_config(train.parse_args([*given, '--deterministic']))
    assert cfg.randomness == dict(seed=0, deterministic=True)
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'


def test_import_error_in_a_users_module_is_reported_as_it_is(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'users_module.py').write_text('import not_installed_anywhere')
    config = tmp_path / 'mine.py'
    for name, says in (
        ('users_module', "users_module: No module named 'not_installed_anywhere'$"),
        ('no_module_at_all', 'add the folder of no_module_at_all to PYTHONPATH'),
    ):
        config.write_text(f'custom_imports = dict(imports=[{name!r}])')
        with pytest.raises(ConfigError, match=says):
            launch.load_config(arguments(config))


@pytest.mark.parametrize('launcher, rank', [('none', None), ('pytorch', '3')])
def test_local_rank_is_set_for_launchers_only(tmp_path, monkeypatch, launcher, rank):
    monkeypatch.setenv('LOCAL_RANK', 'to be restored')
    monkeypatch.delenv('LOCAL_RANK')
    monkeypatch.setattr(launch, 'check_launcher', lambda launcher: None)
    config = tmp_path / 'empty.py'
    config.write_text('')
    launch.load_config(arguments(config, launcher=launcher, local_rank=3))
    assert os.environ.get('LOCAL_RANK') == rank


@pytest.mark.parametrize(
    'text, value',
    [
        ('{}', '{}'),  # a folder that is there
        ('"no, such"', 'no, such'),
        ("'no, such'", 'no, such'),
        ('my list.txt', 'my list.txt'),
        ('no, such', ['no', 'such']),
        ('[(1,2),[a,b]]', [(1, 2), ['a', 'b']]),
        ('"[1,2]"', [1, 2]),
        ('"a","b"', ['a', 'b']),
        ('8', 8),
        ('"None"', None),
    ],
)
def test_values_with_commas(tmp_path, text, value):
    """MMEngine's reader makes lists of paths with commas, and removes their blanks."""
    folder = tmp_path / 'My videos, (2024)'
    folder.mkdir()
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    args = parser.parse_args(['x.py', '--cfg-options', 'a.b=' + text.format(folder)])
    assert args.cfg_options == {'a.b': value.format(folder) if isinstance(value, str) else value}


def test_a_path_that_was_read_as_a_list():
    cfg = main_config(**{'train_dataloader.dataset.data_root': ['no', 'such']})
    with pytest.raises(ConfigError, match='\'train_dataloader.dataset.data_root="no, such"\''):
        launch.check_paths(cfg, 'train_dataloader')
