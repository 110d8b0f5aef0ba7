"""dist_*.sh and slurm_*.sh: the arguments that they pass on, and training on two processes."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from amd_mm.compat import allow_launchers_without_cuda
from mmengine.config import Config

from tests.test_configs.shrink import CONFIGS, shrink
from tests.test_reliability.test_distributed import free_port

from .tool_scripts import TOOLS, load_tool

pytestmark = pytest.mark.no_cover
RECOGNITION = 'amd/recognition/amd_vit-small-p16_16xb16v2-16x4x1-150e_k400.py'
VIDEOS = 4
NOTE = r"""#!{python}
import json, os, sys
with open(os.environ['NOTE'], 'w') as file:
    json.dump(dict(argv=sys.argv[1:], environ=dict(os.environ)), file)
"""
# Arguments that a shell would split or expand.
AWKWARD = ['--cfg-options', 'a.b=[1, 2]', 'c=*.py', "d='e f'", '']


def write_program(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace('{python}', sys.executable))
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def environment(tmp_path):
    """Of a script; ``srun`` and ``scontrol`` are found before any others."""
    programs = tmp_path / 'programs'
    write_program(programs / 'srun', NOTE)
    write_program(programs / 'scontrol', '#!/bin/sh\necho 127.0.0.1\n')
    dropped = ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'MASTER_PORT', 'GPUS')
    inherited = {k: v for k, v in os.environ.items() if k not in dropped}
    return dict(
        inherited,
        PATH=f'{programs}:{os.environ["PATH"]}',
        PYTHON=sys.executable,
        PORT=str(free_port()),
        NOTE=str(tmp_path / 'note.json'),
        OMP_NUM_THREADS='1',
    )


def run_script(script: str, *arguments: object, tools: Path = TOOLS, **options: object):
    """A script of ``tools``: (exit status, output)."""
    done = subprocess.run(
        ['bash', str(tools / script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        **options,
    )
    return done.returncode, done.stdout


@pytest.fixture(scope='module')
def config(tmp_path_factory, make_video):
    """A config in a folder with a space, and its videos."""
    folder = tmp_path_factory.mktemp('a project')
    for label in range(VIDEOS):
        make_video(folder / f'{label}.mp4', frames=20, seed=label)
    (folder / 'list.txt').write_text('\n'.join(f'{i}.mp4 {i}' for i in range(VIDEOS)))
    cfg = shrink(Config.fromfile(CONFIGS / RECOGNITION), folder)
    cfg.train_dataloader.dataset.update(
        data_root=str(folder), ann_file='list.txt', data_prefix=dict(video='')
    )
    cfg.train_dataloader.batch_size = 1
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler = []
    cfg.dump(folder / 'a config.py')
    return folder / 'a config.py'


def noted(environment: dict) -> dict:
    return json.loads(Path(environment['NOTE']).read_text())


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_dist_scripts_pass_on_what_they_get(tool, environment, tmp_path):
    environment['PYTHON'] = write_program(tmp_path / 'a python', NOTE)
    environment.update(NNODES='3', NODE_RANK='2', MASTER_ADDR='node-0')
    given = ['a config.py', 'a model.pth'][: 1 + (tool == 'test')]
    assert run_script(f'dist_{tool}.sh', *given, 8, *AWKWARD, env=environment) == (0, '')
    assert noted(environment)['argv'] == [
        '-m',
        'torch.distributed.run',
        '--nnodes=3',
        '--node_rank=2',
        '--master_addr=node-0',
        f'--master_port={environment["PORT"]}',
        '--nproc_per_node=8',
        str(TOOLS / f'{tool}.py'),
        *given,
        '--launcher',
        'pytorch',
        *AWKWARD,
    ]
    path = noted(environment)['environ']['PYTHONPATH'].split(':')[0]
    assert Path(path).resolve() == TOOLS.parent


@pytest.mark.parametrize('tool, gpus, per_node', [('train', '16', '8'), ('test', '1', '1')])
def test_slurm_scripts_pass_on_what_they_get(tool, gpus, per_node, environment, tmp_path):
    environment['PYTHON'] = write_program(tmp_path / 'a python', '#!/bin/sh\n')
    environment.update(GPUS=gpus, SRUN_ARGS='--qos=normal --time=1')
    given = ['a config.py', 'a model.pth'][: 1 + (tool == 'test')]
    words = ['gpu', 'my job', *given, *AWKWARD]
    assert run_script(f'slurm_{tool}.sh', *words, env=environment) == (0, '')
    note = noted(environment)
    assert note['argv'] == [
        '-p',
        'gpu',
        '--job-name=my job',
        f'--gres=gpu:{per_node}',
        f'--ntasks={gpus}',
        f'--ntasks-per-node={per_node}',
        '--cpus-per-task=16',
        '--kill-on-bad-exit=1',
        '--qos=normal',
        '--time=1',
        environment['PYTHON'],
        '-u',
        str(TOOLS / f'{tool}.py'),
        *given,
        '--launcher',
        'slurm',
        *AWKWARD,
    ]
    assert 12000 <= int(note['environ']['MASTER_PORT']) < 32000
    path = note['environ']['PYTHONPATH'].split(':')[0]
    assert Path(path).resolve() == TOOLS.parent


@pytest.mark.parametrize('script', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_too_few_arguments_are_an_error_with_the_usage(script, environment):
    status, output = run_script(f'{script}.sh', 'one', env=environment)
    assert status == 2
    assert output.startswith('usage: ') and 'CONFIG' in output


def trained_together(output, work_dir):
    assert 'x 2 processes x 1 accumulated' in output
    # Half of the videos each.
    assert f'Epoch(train) [1][{VIDEOS // 2}/{VIDEOS // 2}]' in output
    assert (work_dir / 'epoch_1.pth').is_file()
    assert len(list(work_dir.glob('*/*.log'))) == 1


def test_two_processes_of_torchrun_train_together(config, environment, tmp_path):
    """From an installed tools folder: the scripts find train.py beside them."""
    tools = shutil.copytree(TOOLS, tmp_path / 'installed/.mim/tools')
    environment['PYTHONPATH'] = str(TOOLS.parent)
    given = (config, 2, '--work-dir', tmp_path / 'a work dir', '--no-validate')
    status, output = run_script('dist_train.sh', *given, tools=tools, env=environment, cwd=tmp_path)
    assert status == 0, output
    trained_together(output, tmp_path / 'a work dir')


def test_two_tasks_of_slurm_train_together(config, environment, tmp_path):
    """Without the programs' imports, which take longer than the training."""

    def task(rank):
        os.environ.update(environment, MASTER_PORT=environment['PORT'], SLURM_NTASKS='2')
        os.environ.update(SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), SLURM_NODELIST='n[1-2]')
        allow_launchers_without_cuda()  # as at the import of amd_mm
        given = ['--work-dir', str(tmp_path / 'w'), '--no-validate', '--launcher', 'slurm']
        load_tool('train').main([str(config), *given])

    tasks = [multiprocessing.get_context('fork').Process(target=task, args=(i,)) for i in (0, 1)]
    for one in tasks:
        one.start()
    for one in tasks:
        one.join(600)
        assert one.exitcode == 0
    (log,) = (tmp_path / 'w').glob('*/*.log')
    trained_together(log.read_text(), tmp_path / 'w')
