"""Real mim commands, from a wheel and from an editable install.

A command takes seconds, most of them imports in the processes that mim starts, so each command runs
once, and training runs from both kinds of installation.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
from amd_mm.registry import MODELS
from mmengine.config import Config

from .packages import REPOSITORY, run, succeed

pytest.importorskip('mim', reason='openmim is not installed')

STUDENT = 'quickstart_videomae_student.py'
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


@pytest.mark.parametrize('kind', ['wheel', 'editable'])
def test_installation_is_found_and_its_configs_are_inherited(
    kind: str, tmp_path: Path, editable_tree: Path, request: pytest.FixtureRequest
) -> None:
    """By mim and by MMEngine, in a program that has not imported amd_mm."""
    python = request.getfixturevalue(f'{kind}_python')
    (tmp_path / 'mine.py').write_text(DERIVED)
    code = (
        'import sys, mim.utils, mmengine.utils; from mmengine.config import Config; '
        "print(mim.utils.get_installed_path('amd_mm')); "
        "print(mmengine.utils.get_installed_path('amd_mm')); "
        "assert 'amd_mm' not in sys.modules; print(Config.fromfile('mine.py').model.type)"
    )
    lines = succeed(run([python, '-W', 'ignore', '-c', code], tmp_path)).splitlines()
    folder = Path(lines[-3])
    assert lines[-2] == str(folder) and lines[-1] == 'amd_mm.MaskedAutoencoder'
    assert (folder / '.mim' / 'tools' / 'train.py').is_file()
    if kind == 'wheel':
        assert python.parent.parent in folder.parents
        return
    assert folder == editable_tree / 'amd_mm'
    later = editable_tree / 'configs' / 'later.py'
    later.write_text('x = 1\n')
    assert (folder / '.mim' / 'configs' / 'later.py').is_file()
    later.unlink()


def mim(
    python: Path, folder: Path, command: str, *arguments: object
) -> subprocess.CompletedProcess:
    """``mim COMMAND amd_mm ...`` in an environment, from some folder."""
    path = os.pathsep.join([str(python.parent), os.environ['PATH']])
    code = 'from mim.cli import cli; cli()'
    words = [python, '-W', 'ignore', '-c', code, command, 'amd_mm']
    return run([*words, *arguments], folder, PATH=path, OMP_NUM_THREADS='1')


def no_workers(loader: str) -> list[str]:
    return [
        f'{loader}.num_workers=0',
        f'{loader}.persistent_workers=False',
        f'{loader}.batch_size=2',
    ]


def short_run(videos: Path) -> list[str]:
    """Arguments for a run of two steps over a folder of videos."""
    return [
        *('--gpus', '0', '--work-dir', 'work_dir', '--cfg-options', 'train_cfg.max_iters=2'),
        'param_scheduler=None',  # the run is shorter than the warm-up
        f'train_dataloader.dataset.data_root={videos}',
        'default_hooks.checkpoint.interval=2',
        *no_workers('train_dataloader'),
    ]


def test_mim_train_by_basename_from_a_wheel(
    wheel_python: Path, tmp_path: Path, tiny_video_folder: Path
) -> None:
    """Also the proof that a wheel pre-trains, from a foreign folder."""
    output = succeed(mim(wheel_python, tmp_path, 'train', STUDENT, *short_run(tiny_video_folder)))
    assert 'Training finished successfully' in output
    assert (tmp_path / 'work_dir' / 'iter_2.pth').is_file()


def test_mim_gridsearch_of_a_derived_config_from_an_editable_install(
    editable_python: Path, tmp_path: Path, tiny_video_folder: Path
) -> None:
    (tmp_path / 'mine.py').write_text(DERIVED)
    search = ('--search-args', '--model.mask_generator.student_ratio 0.5')
    options = short_run(tiny_video_folder)
    output = succeed(mim(editable_python, tmp_path, 'gridsearch', 'mine.py', *search, *options))
    assert 'The hyper parameter search finished successfully' in output
    (folder,) = tmp_path.glob('work_dir_search_*student_ratio_0.5')
    assert 'sees 32' in output  # half of the 64 tokens
    state = torch.load(folder / 'iter_2.pth', weights_only=False)['state_dict']
    blocks = {match[1] for name in state if (match := re.match(r'backbone\.blocks\.(\d)', name))}
    assert blocks == {'0'}


def test_mim_test_from_a_wheel(wheel_python: Path, tmp_path: Path, tiny_video_folder: Path) -> None:
    name = 'quickstart_finetune.py'
    model = MODELS.build(Config.fromfile(REPOSITORY / 'configs' / 'quickstart' / name).model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    (tmp_path / 'list.txt').write_text('a.mp4 0\nmore/c.mp4 7\n')
    options = [
        f'test_dataloader.dataset.data_root={tiny_video_folder}',
        f'test_dataloader.dataset.ann_file={tmp_path / "list.txt"}',
        *no_workers('test_dataloader'),
    ]
    words = ('test', name, '--checkpoint', 'model.pth', '--gpus', '0', '--cfg-options')
    output = succeed(mim(wheel_python, tmp_path, *words, *options))
    assert 'Testing finished successfully' in output
    assert 'acc/top1' in output


def test_mim_run_from_an_editable_install(editable_python: Path, tmp_path: Path) -> None:
    """A tool in a folder, ``folder:name``, with arguments of its own."""
    result = mim(editable_python, tmp_path, 'run', 'data:build_list', 'no-such-data')
    assert result.returncode != 0
    printed = result.stdout + result.stderr
    assert re.search(r"invalid choice: 'no-such-data'.*sthv2", printed)
