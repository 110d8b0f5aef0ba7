"""From the command line to a checked config."""

import argparse
import json
import os
from pathlib import Path

import pytest
import torch
from amd_mm.checkpoints import load_into
from amd_mm.engine import launch
from amd_mm.errors import CheckpointError, ConfigError
from amd_mm.registry import MODELS
from mmengine.config import Config

from tests.test_configs.shrink import CONFIGS, REPOSITORY, make_data, shrink
from tests.test_tools.tool_scripts import load_tool, run_tool

MAIN = 'amd/pretrain/amd_vit-small-p16_vit-large_32xb16v4-16x4x1-200e_k400.py'
FOLDER = 'amd/pretrain/amd_vit-small-p16_vit-base_32xb16v4-16x4x1-200e_folder.py'
TOOLS = REPOSITORY / 'tools'


def arguments(config, **more):
    defaults = dict(
        config=str(config), work_dir=None, cfg_options=None, launcher='none', local_rank=0
    )
    return argparse.Namespace(**{**defaults, **more})


def main_config(**options):
    return launch.load_config(arguments(CONFIGS / MAIN, cfg_options=options or None))


def test_missing_config_suggests_one():
    with pytest.raises(ConfigError) as error:
        launch.load_config(arguments(f'wrong/folder/{Path(MAIN).name}'))
    assert str(CONFIGS / MAIN) in str(error.value)


def test_overrides_and_work_dir():
    cfg = main_config(**{'train_dataloader.batch_size': 3})
    assert cfg.train_dataloader.batch_size == 3
    assert cfg.work_dir == f'work_dirs/{Path(MAIN).stem}'
    cfg = launch.load_config(arguments(CONFIGS / MAIN, work_dir='elsewhere'))
    assert cfg.work_dir == 'elsewhere'


@pytest.mark.parametrize(
    'options', [dict(log_level='DEBUG'), dict(resume=True), {'model.teacher.checkpoint': 'x'}]
)
def test_other_overrides_pass(options):
    main_config(**options)


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
    for counts, lr in ((8, 2.4e-3), (1, 2.4e-3 / 8)):
        # 16 videos x 4 processes x 8 = 512.
        cfg = main_config(**{'optim_wrapper.accumulative_counts': counts})
        cfg.launcher = 'pytorch'
        cfg.train_dataloader.batch_size = 16
        launch.scale_learning_rate(cfg, True)
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(lr)
        assert not cfg.auto_scale_lr.enable  # or MMEngine would scale again
    cfg = main_config(**{'train_dataloader.batch_size': 2})
    assert '2 videos a step' in launch.scale_learning_rate(cfg, False)
    assert cfg.optim_wrapper.optimizer.lr == 2.4e-3
    with pytest.raises(ConfigError, match='base_batch_size'):
        launch.scale_learning_rate(Config(dict(optim_wrapper={}, train_dataloader={})), True)


def test_schedule_follows_max_epochs():
    def epochs(**options):
        schedule = main_config(**options).param_scheduler
        return [(one.get('begin', 0), one.get('end')) for one in schedule]

    assert epochs() == [(0, 10), (10, None)]  # to the end
    assert epochs(**{'train_cfg.max_epochs': 20}) == [(0, 1), (1, None)]
    # Both given: nothing is scaled.
    given = {'train_cfg.max_epochs': 20, 'param_scheduler.0.end': 5}
    assert epochs(**given) == [(0, 5), (10, None)]


@pytest.mark.parametrize(
    'iters, expected',
    [(600, [(0, 100), (100, None)]), (60, [(0, 10), (10, None)]), (2, [(0, None)])],
)
def test_schedule_follows_max_iters(iters, expected):
    config = CONFIGS / 'quickstart/quickstart_videomae_student.py'
    cfg = launch.load_config(arguments(config, cfg_options={'train_cfg.max_iters': iters}))
    found = [(one.get('begin', 0), one.get('end')) for one in cfg.param_scheduler]
    assert found == expected


def test_schedule_that_contradicts_max_epochs_is_named():
    cfg = main_config(**{'train_cfg.max_epochs': 2, 'param_scheduler.1.begin': 10})
    with pytest.raises(ConfigError, match='begins at epoch 10 and ends at epoch 2.*max_epochs'):
        launch.check_training(cfg)


def test_cpu_processes(monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    cfg = main_config()
    wrapper = dict(cfg.model_wrapper_cfg)
    assert wrapper['broadcast_buffers'] is False
    launch.use_cpu_processes(cfg)
    assert cfg.model_wrapper_cfg == wrapper  # one process
    cfg.launcher = 'pytorch'
    launch.use_cpu_processes(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert cfg.model_wrapper_cfg == dict(wrapper, device_ids=None)
    cfg = Config(dict(launcher='pytorch'))  # one that states no wrapper
    launch.use_cpu_processes(cfg)
    assert cfg.model_wrapper_cfg == dict(
        type='mmengine.MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=False,
    )
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg = main_config()
    cfg.launcher = 'pytorch'
    launch.use_cpu_processes(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'nccl'
    assert cfg.model_wrapper_cfg == wrapper


def test_resume(tmp_path):
    cfg = main_config()
    cfg.work_dir = str(tmp_path)
    launch.set_resume(cfg, None)
    assert not cfg.resume
    launch.set_resume(cfg, 'auto')
    assert cfg.resume and cfg.load_from is None
    (tmp_path / 'epoch_5.pth').touch()
    # The folder was moved since the checkpoint was written.
    (tmp_path / 'last_checkpoint').write_text('/long/gone/epoch_5.pth')
    launch.set_resume(cfg, 'auto')
    assert cfg.load_from == str(tmp_path / 'epoch_5.pth')
    (tmp_path / 'epoch_5.pth').unlink()
    with pytest.raises(CheckpointError, match='epoch_5.pth; remove'):
        launch.set_resume(cfg, 'auto')
    with pytest.raises(CheckpointError, match='no checkpoint .*epoch_9.pth'):
        launch.set_resume(cfg, str(tmp_path / 'epoch_9.pth'))


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


RECOGNITION = """
_base_ = {base!r}
model = dict(
    _delete_=True,
    type='mmaction.Recognizer3D',
    data_preprocessor=dict(
        type='mmaction.ActionDataPreprocessor', format_shape='NCTHW'),
    backbone=dict(
        type='amd_mm.VideoVisionTransformer', img_size=80, num_frames=4,
        embed_dims=16, depth=12, num_heads=2),
    cls_head=dict(
        type='mmaction.TimeSformerHead', num_classes=4, in_channels=16,
        average_clips='prob'))
test_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        type='amd_mm.VideoListDataset',
        ann_file={ann_file!r},
        data_prefix=dict(video={videos!r}),
        test_mode=True,
        pipeline=[
            dict(type='amd_mm.VideoInit'),
            dict(type='mmaction.SampleFrames', clip_len=4, frame_interval=2,
                 num_clips=1, test_mode=True),
            dict(type='amd_mm.VideoDecode'),
            dict(type='mmaction.Resize', scale=(80, 80), keep_ratio=False),
            dict(type='mmaction.FormatShape', input_format='NCTHW'),
            dict(type='mmaction.PackActionInputs')
        ]))
test_cfg = dict(type='mmengine.TestLoop')
test_evaluator = dict(type='mmaction.AccMetric')
"""


def test_train_then_test_with_the_tools(tmp_path, make_video):
    """What pre-training saves goes into a stock recogniser."""
    data = make_data(tmp_path, make_video)
    cfg = shrink(Config.fromfile(CONFIGS / FOLDER), data)
    pretrain = tmp_path / 'tiny_pretrain.py'
    cfg.dump(pretrain)
    result = run_tool(
        'train',
        pretrain,
        '--work-dir',
        tmp_path / 'w',
        '--seed',
        7,
        '--auto-scale-lr',
        '--cfg-options',
        'optim_wrapper.precision=fp32',
        'train_cfg.max_epochs=1',
    )
    assert result.returncode == 0, result.stderr
    printed = result.stdout + result.stderr
    # 2 videos a step, the learning rate is for 512.
    lr = 2.4e-3 * 2 / 512
    assert f'{lr:.3e} at its peak' in printed and 'paramwise_options' not in printed
    (log,) = (tmp_path / 'w').glob('*/*.log')
    assert 'paramwise_options' in log.read_text()
    (lines,) = (tmp_path / 'w').glob('*/vis_data/scalars.json')
    last = json.loads(lines.read_text().splitlines()[-1])
    # One epoch: the warm-up and its start are scaled with the schedule.
    assert last['lr'] == last['base_lr'] and lr / 10 < last['lr'] <= lr

    root = data / 'data/kinetics400'
    recognise = tmp_path / 'tiny_recognise.py'
    recognise.write_text(
        RECOGNITION.format(
            base=str(pretrain),
            ann_file=str(root / 'kinetics400_train_list_videos.txt'),
            videos=str(root / 'videos_train'),
        )
    )
    pretrained, tuned = tmp_path / 'w/epoch_1.pth', tmp_path / 'tuned.pth'
    model = MODELS.build(Config.fromfile(recognise).model)
    load_into(model, pretrained, allow_missing=('backbone.fc_norm', 'cls_head'))
    torch.save(dict(state_dict=model.state_dict()), tuned)
    result = run_tool(
        'test', recognise, tuned, '--work-dir', tmp_path / 't', '--dump', tmp_path / 'p.pkl'
    )
    assert result.returncode == 0, result.stderr
    assert 'acc/top1' in result.stdout + result.stderr
    assert (tmp_path / 'p.pkl').is_file()


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
