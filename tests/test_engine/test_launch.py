"""From the command line to a checked config."""

import argparse
import os
from pathlib import Path

import pytest
import torch
from amd_mm.checkpoints import load_into
from amd_mm.engine import launch
from amd_mm.engine.launch import LaunchError
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
    with pytest.raises(LaunchError) as error:
        launch.load_config(arguments(f'wrong/folder/{Path(MAIN).name}'))
    assert str(CONFIGS / MAIN) in str(error.value)


def test_overrides_and_work_dir():
    cfg = main_config(**{'train_dataloader.batch_size': 3})
    assert cfg.train_dataloader.batch_size == 3
    assert cfg.work_dir == f'work_dirs/{Path(MAIN).stem}'
    cfg = launch.load_config(arguments(CONFIGS / MAIN, work_dir='elsewhere'))
    assert cfg.work_dir == 'elsewhere'


@pytest.mark.parametrize(
    'options',
    [
        dict(log_level='DEBUG'),
        dict(resume=True),
        {'new_entry': 1},
        {'model.teacher.checkpoint': 'x'},
    ],
)
def test_other_overrides_pass(options):
    main_config(**options)


def test_amp():
    cfg = main_config(**{'optim_wrapper.precision': 'fp32'})
    launch.enable_amp(cfg)
    assert cfg.optim_wrapper.precision == 'bf16'
    for name in ('OptimWrapper', 'mmengine.AmpOptimWrapper'):
        cfg = Config(dict(optim_wrapper=dict(type=name)))
        launch.enable_amp(cfg)
        assert cfg.optim_wrapper.type == 'mmengine.AmpOptimWrapper'
        assert cfg.optim_wrapper.loss_scale == 'dynamic'
    with pytest.raises(LaunchError, match='Apex'):
        launch.enable_amp(Config(dict(optim_wrapper=dict(type='Apex'))))


def test_auto_scale_lr_counts_accumulated_batches():
    cfg = main_config(**{'optim_wrapper.accumulative_counts': 4})
    launch.enable_auto_scale_lr(cfg)
    # 8 processes x 16 videos x 4 = 512: no scaling.
    assert cfg.auto_scale_lr.enable
    assert 8 * cfg.train_dataloader.batch_size == (cfg.auto_scale_lr.base_batch_size)
    with pytest.raises(LaunchError, match='base_batch_size'):
        launch.enable_auto_scale_lr(Config(dict(optim_wrapper=dict())))


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
    with pytest.raises(LaunchError, match='which is not there'):
        launch.set_resume(cfg, 'auto')
    with pytest.raises(LaunchError, match='no such checkpoint'):
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
        with pytest.raises(LaunchError) as error:
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
        with pytest.raises(LaunchError, match=f'train_dataloader.{key}'):
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


def test_train_py_says_what_is_missing_without_a_traceback(tmp_path):
    result = run_tool('train', CONFIGS / FOLDER, '--work-dir', tmp_path)
    assert result.returncode == 1
    assert 'train_dataloader.dataset.data_root' in result.stderr
    assert 'Traceback' not in result.stderr


def test_test_py_refuses_a_config_that_only_trains(tmp_path):
    result = run_tool('test', CONFIGS / FOLDER, 'x.pth')
    assert result.returncode == 1
    assert 'no test_dataloader' in result.stderr
    assert 'Traceback' not in result.stderr


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
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler = []
    pretrain = tmp_path / 'tiny_pretrain.py'
    cfg.dump(pretrain)
    result = run_tool(
        'train',
        pretrain,
        '--work-dir',
        tmp_path / 'w',
        '--seed',
        7,
        '--amp',
        '--auto-scale-lr',
        '--cfg-options',
        'optim_wrapper.precision=fp32',
    )
    assert result.returncode == 0, result.stderr
    assert 'Scaling the original LR' in result.stdout + result.stderr

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


@pytest.mark.parametrize('launcher, rank', [('none', None), ('pytorch', '3')])
def test_local_rank_is_set_for_launchers_only(tmp_path, monkeypatch, launcher, rank):
    monkeypatch.setenv('LOCAL_RANK', 'to be restored')
    monkeypatch.delenv('LOCAL_RANK')
    config = tmp_path / 'empty.py'
    config.write_text('')
    launch.load_config(arguments(config, launcher=launcher, local_rank=3))
    assert os.environ.get('LOCAL_RANK') == rank
