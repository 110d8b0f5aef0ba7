"""mim commands, from a wheel and from an editable install.

One command runs as a user runs it. Of the others, the commands that mim would start are checked.
"""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from .packages import REPOSITORY, run, succeed

pytest.importorskip('mim', reason='openmim is not installed')

STUDENT = 'quickstart_videomae_student.py'
RECOGNITION = 'amd_vit-small-p16_16xb16v2-sparse16-40e_sthv2.py'
# __import__: with nothing of amd_mm imported before, as in MMAction2's tools or in mim.
DERIVED = f"""
_base_ = __import__('amd_mm') and 'amd_mm::quickstart/{STUDENT}'
model = dict(backbone=dict(depth=1))
"""


def test_model_index_is_valid() -> None:
    modelindex = pytest.importorskip('modelindex.load_model_index')
    index = modelindex.load(str(REPOSITORY / 'model-index.yml'))
    index.build_models_with_collections()
    collections = {one.name: one for one in index.collections}
    for model in index.models:
        assert (REPOSITORY / model.config).is_file(), model.name
        collection = collections[model.in_collection]
        assert (REPOSITORY / collection.readme).is_file()
        assert collection.paper['Title'] and collection.paper['URL']
        assert model.metadata.training_data, model.name
    names = [model.name for model in index.models]
    assert names and len(set(names)) == len(names)


def test_mim_train_of_a_derived_config_from_a_wheel(
    wheel_python: Path, tmp_path: Path, tiny_video_folder: Path
) -> None:
    """Also the proof that a wheel pre-trains, from a foreign folder."""
    (tmp_path / 'mine.py').write_text(DERIVED)
    words = [wheel_python, '-W', 'ignore', '-c', 'from mim.cli import cli; cli()']
    words += ['train', 'amd_mm', 'mine.py', '--gpus', '0', '--work-dir', 'work_dir']
    options = [
        'train_cfg.max_iters=2',
        'param_scheduler=None',  # the run is shorter than the warm-up
        f'train_dataloader.dataset.data_root={tiny_video_folder}',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'train_dataloader.batch_size=2',
        'default_hooks.checkpoint.interval=2',
    ]
    path = os.pathsep.join([str(wheel_python.parent), os.environ['PATH']])
    printed = run([*words, '--cfg-options', *options], tmp_path, PATH=path, OMP_NUM_THREADS='1')
    output = succeed(printed)
    assert 'Training finished successfully' in output
    assert f'{wheel_python.parents[1]}' in output  # the tool of the wheel
    state = torch.load(tmp_path / 'work_dir' / 'iter_2.pth', weights_only=True)['state_dict']
    assert {name.split('.')[2] for name in state if name.startswith('backbone.blocks.')} == {'0'}


def test_editable_installation_is_found_and_linked(
    editable_python: Path, editable_tree: Path, tmp_path: Path
) -> None:
    """By mim and by MMEngine, in a program that has not imported amd_mm, and beside a clone."""
    (tmp_path / 'mine.py').write_text(DERIVED)
    (tmp_path / 'amd_mm').mkdir()
    code = (
        'import sys, mim.utils, mmengine.utils; from mmengine.config import Config; '
        "print(mim.utils.get_installed_path('amd_mm')); "
        "print(mmengine.utils.get_installed_path('amd_mm')); "
        "assert 'amd_mm' not in sys.modules; print(Config.fromfile('mine.py').model.type); "
        'import amd_mm; print(amd_mm.__file__)'
    )
    lines = succeed(run([editable_python, '-W', 'ignore', '-c', code], tmp_path)).splitlines()
    folder = editable_tree / 'amd_mm'
    found, init = [str(folder)] * 2, str(folder / '__init__.py')
    assert lines[-4:] == [*found, 'amd_mm.MaskedAutoencoder', init]
    assert (folder / '.mim' / 'tools').resolve() == editable_tree / 'tools'
    assert (folder / '.mim' / 'configs').resolve() == editable_tree / 'configs'


def test_mim_test_gridsearch_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mim.commands.gridsearch import gridsearch
    from mim.commands.run import run
    from mim.commands.test import test

    scripts, configs, rest = [], [], []

    def start(command: list[str], **other: object) -> int:
        scripts.append(Path(command[1]).resolve().relative_to(REPOSITORY).as_posix())
        if command[2].endswith('.py'):
            configs.append(Config.fromfile(command[2]))
        rest.append(command[3:])
        return 0

    monkeypatch.chdir(tmp_path)  # gridsearch writes the configs into it
    monkeypatch.setattr(subprocess, 'check_call', start)
    monkeypatch.setattr(subprocess, 'check_output', lambda command: b'')  # of --help

    assert test('amd_mm', RECOGNITION, 'model.pth', gpus=0)[0]
    search = '--model.mask_generator.student_ratio 0.25 0.5'
    assert gridsearch('amd_mm', STUDENT, 0, search_args=search, other_args=('--work-dir', 'x'))[0]
    # A tool in a folder, ``folder:name``, with arguments of its own.
    assert run('amd_mm', 'data:build_list', other_args=('sthv2', 'data'))[0]
    tools = ('test.py', 'train.py', 'train.py', 'data/build_list.py')
    assert scripts == [f'tools/{name}' for name in tools]
    assert rest[0][0] == 'model.pth' and rest[3] == ['data']
    assert configs[0].model.type == 'mmaction.Recognizer3D'
    assert [cfg.model.mask_generator.student_ratio for cfg in configs[1:]] == [0.25, 0.5]
