"""dist_*.sh and slurm_*.sh: several nodes, Slurm, what is passed on.

What Slurm does is done by a program named ``srun`` that starts the tasks here.
"""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from amd_mm.registry import MODELS
from mmengine.config import Config

from tests.test_configs.shrink import CONFIGS, SIDE, shrink
from tests.test_reliability.test_distributed import free_port

from .tool_scripts import TOOLS

pytestmark = pytest.mark.no_cover
RECOGNITION = 'amd/recognition/amd_vit-small-p16_16xb16v2-16x4x1-150e_k400.py'
VIDEOS = 4
NOTE = r"""#!{python}
import json, os, sys
with open(os.environ['NOTE'], 'w') as file:
    json.dump(dict(argv=sys.argv[1:], environ=dict(os.environ)), file)
"""
SRUN = (
    NOTE
    + r"""
import subprocess
command = sys.argv[sys.argv.index(os.environ['PYTHON']):]
(tasks,) = [word[9:] for word in sys.argv if word.startswith('--ntasks=')]
processes = [
    subprocess.Popen(command, env=dict(
        os.environ, SLURM_PROCID=str(task), SLURM_LOCALID=str(task),
        SLURM_NTASKS=tasks, SLURM_NODELIST='node[1-2]',
    ))
    for task in range(int(tasks))
]
sys.exit(max(process.wait() for process in processes))
"""
)
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
    write_program(programs / 'srun', SRUN)
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


def start(script: str, *arguments: object, **options: object):
    """A script of ``tools``, its output together."""
    return subprocess.Popen(
        ['bash', str(TOOLS / script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finish(*processes: subprocess.Popen) -> str:
    """What they printed; all of them have to succeed."""
    output = []
    for process in processes:
        try:
            output.append(process.communicate(timeout=200)[0])
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun ends its processes
            output.append(process.communicate()[0])
    for process in processes:
        assert process.returncode == 0, '\n'.join(output)
    return '\n'.join(output)


@pytest.fixture(scope='module')
def project(tmp_path_factory, make_video):
    """A folder with a config, a list of videos and a checkpoint."""
    folder = tmp_path_factory.mktemp('a project')
    lines = []
    for label in range(VIDEOS):
        make_video(str(folder / f'{label}.mp4'), frames=20, seed=label)
        lines.append(f'{label}.mp4 {label}')
    (folder / 'list.txt').write_text('\n'.join(lines))
    cfg = shrink(Config.fromfile(CONFIGS / RECOGNITION), folder)
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].dataset.update(
            data_root=str(folder), ann_file='list.txt', data_prefix=dict(video='')
        )
    cfg.train_dataloader.batch_size = 1
    cfg.train_cfg.update(max_epochs=1, val_interval=2)
    cfg.param_scheduler = []
    assert cfg.model.backbone.img_size == SIDE
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), folder / 'a model.pth')
    cfg.dump(folder / 'a config.py')
    return folder


def noted(environment: dict) -> dict:
    return json.loads(Path(environment['NOTE']).read_text())


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_dist_scripts_pass_on_what_they_get(tool, environment, tmp_path):
    environment['PYTHON'] = write_program(tmp_path / 'a python', NOTE)
    environment.update(NNODES='3', NODE_RANK='2', MASTER_ADDR='node-0')
    given = ['a config.py', 'a model.pth'][: 1 + (tool == 'test')]
    finish(start(f'dist_{tool}.sh', *given, 8, *AWKWARD, env=environment))
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


@pytest.mark.parametrize('gpus, per_node', [('16', '8'), ('1', '1')])
@pytest.mark.parametrize('tool', ['train', 'test'])
def test_slurm_scripts_pass_on_what_they_get(tool, gpus, per_node, environment, tmp_path):
    environment['PYTHON'] = write_program(tmp_path / 'a python', '#!/bin/sh\n')
    environment.update(GPUS=gpus, SRUN_ARGS='--qos=normal --time=1')
    given = ['a config.py', 'a model.pth'][: 1 + (tool == 'test')]
    script = f'slurm_{tool}.sh'
    finish(start(script, 'gpu', 'my job', *given, *AWKWARD, env=environment))
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
    process = start(f'{script}.sh', 'one', env=environment)
    output, _ = process.communicate()
    assert process.returncode == 2
    assert output.startswith('usage: ') and 'CONFIG' in output


def test_two_nodes_train_together(project, environment, tmp_path):
    environment.update(NNODES='2', MASTER_ADDR='127.0.0.1')
    work_dir = tmp_path / 'a work dir'
    given = (project / 'a config.py', 1, '--work-dir', work_dir)
    nodes = [
        start('dist_train.sh', *given, env=dict(environment, NODE_RANK=str(rank)), cwd=tmp_path)
        for rank in (1, 0)  # whichever comes first
    ]
    output = finish(*nodes)
    assert 'x 2 processes x 1 accumulated' in output
    # Half of the videos each.
    assert f'Epoch(train) [1][{VIDEOS // 2}/{VIDEOS // 2}]' in output
    assert (work_dir / 'epoch_1.pth').is_file()
    assert len(list(work_dir.glob('*/*.log'))) == 1


def test_two_processes_test_together(project, environment, tmp_path):
    predictions = tmp_path / 'all of them.pkl'
    finish(
        start(
            'dist_test.sh',
            project / 'a config.py',
            project / 'a model.pth',
            2,
            '--dump',
            predictions,
            env=environment,
            cwd=tmp_path,
        )
    )
    found = pickle.loads(predictions.read_bytes())
    assert [sample['gt_label'].item() for sample in found] == [*range(VIDEOS)]


def test_two_tasks_of_slurm_train_together(project, environment, tmp_path):
    work_dir = tmp_path / 'a work dir'
    environment.update(GPUS='2', MASTER_PORT=environment.pop('PORT'))
    output = finish(
        start(
            'slurm_train.sh',
            'gpu',
            'my job',
            project / 'a config.py',
            '--work-dir',
            work_dir,
            env=environment,
            cwd=tmp_path,
        )
    )
    assert 'x 2 processes x 1 accumulated' in output
    assert f'Epoch(train) [1][{VIDEOS // 2}/{VIDEOS // 2}]' in output
    assert (work_dir / 'epoch_1.pth').is_file()
