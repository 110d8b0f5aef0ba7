"""Real mim commands, from a wheel and from an editable install.

A command costs ten seconds and more, most of it imports in the processes that
mim starts: so each command is run once, training from both kinds of install.
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

WHERE = "from {0} import get_installed_path; print(get_installed_path('amd_mm'))"
# With nothing of amd_mm imported before: as in MMAction2's tools, or in mim.
INHERIT = (
    'import sys; from mmengine.config import Config; '
    "assert 'amd_mm' not in sys.modules; "
    "print(Config.fromfile('mine.py').model.type)"
)


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


def where_is_it(python: Path, asker: str) -> Path:
    command = [python, '-W', 'ignore', '-c', WHERE.format(asker)]
    answer = succeed(run(command, python.parent))
    return Path(answer.splitlines()[-1])


@pytest.mark.parametrize('asker', ['mim.utils', 'mmengine.utils'])
def test_wheel_is_found(wheel_python: Path, asker: str) -> None:
    folder = where_is_it(wheel_python, asker)
    assert wheel_python.parent.parent in folder.parents
    assert (folder / '.mim' / 'tools' / 'train.py').is_file()


@pytest.mark.parametrize('asker', ['mim.utils', 'mmengine.utils'])
def test_editable_install_is_found(editable_python: Path, editable_tree: Path, asker: str) -> None:
    folder = where_is_it(editable_python, asker)
    assert folder == editable_tree / 'amd_mm'
    new_config = editable_tree / 'configs' / f'later_{asker}.py'
    new_config.write_text('x = 1\n')
    assert (folder / '.mim' / 'configs' / new_config.name).is_file()
    new_config.unlink()


def derive(folder: Path, before: str = '') -> None:
    """Write a config that derives from one of the package's, elsewhere."""
    (folder / 'mine.py').write_text(
        f"_base_ = {before}'amd_mm::quickstart/"
        "quickstart_videomae_student.py'\n"
        'model = dict(backbone=dict(depth=1))\n'
    )


@pytest.mark.parametrize('kind', ['wheel_python', 'editable_python'])
def test_configs_can_be_inherited_by_any_program(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    python = request.getfixturevalue(kind)
    derive(tmp_path, "__import__('amd_mm') and ")
    command = [python, '-W', 'ignore', '-c', INHERIT]
    printed = succeed(run(command, tmp_path))
    assert 'amd_mm.MaskedAutoencoder' in printed


def mim(
    python: Path, folder: Path, command: str, *arguments: object
) -> subprocess.CompletedProcess:
    """``mim COMMAND amd_mm ...`` in an environment, from some folder."""
    path = os.pathsep.join([str(python.parent), os.environ['PATH']])
    code = 'from mim.cli import cli; cli()'
    words = [python, '-W', 'ignore', '-c', code, command, 'amd_mm']
    return run([*words, *arguments], folder, PATH=path, OMP_NUM_THREADS='1')


def no_workers(loader: str) -> tuple[str, ...]:
    return (
        f'{loader}.num_workers=0',
        f'{loader}.persistent_workers=False',
        f'{loader}.batch_size=2',
    )


def short_run(videos: Path) -> tuple[str, ...]:
    """Arguments that make a run of two steps over a folder of videos."""
    return (
        '--gpus',
        '0',
        '--work-dir',
        'work_dir',
        '--cfg-options',
        'train_cfg.max_iters=2',
        f'train_dataloader.dataset.data_root={videos}',
        'default_hooks.checkpoint.interval=2',
        *no_workers('train_dataloader'),
    )


def test_mim_train_by_basename_from_a_wheel(
    wheel_python: Path, tmp_path: Path, tiny_video_folder: Path
) -> None:
    """Also the proof that a wheel pre-trains, from a foreign folder."""
    output = succeed(
        mim(
            wheel_python,
            tmp_path,
            'train',
            'quickstart_videomae_student.py',
            *short_run(tiny_video_folder),
        )
    )
    assert 'Training finished successfully' in output
    assert list((tmp_path / 'work_dir').glob('iter_2.pth'))


def test_mim_gridsearch_of_a_derived_config_from_an_editable_install(
    editable_python: Path, tmp_path: Path, tiny_video_folder: Path
) -> None:
    derive(tmp_path, "__import__('amd_mm') and ")
    output = succeed(
        mim(
            editable_python,
            tmp_path,
            'gridsearch',
            'mine.py',
            '--search-args',
            '--model.mask_generator.student_ratio 0.5',
            *short_run(tiny_video_folder),
        )
    )
    assert 'The hyper parameter search finished successfully' in output
    (folder,) = tmp_path.glob('work_dir_search_*student_ratio_0.5')
    assert (folder / 'iter_2.pth').is_file()
    assert 'sees 32' in output  # half of the 64 tokens
    weights = torch.load(folder / 'iter_2.pth', weights_only=False)
    blocks = {
        match[0]
        for name in weights['state_dict']
        if (match := re.match(r'backbone\.blocks\.\d', name))
    }
    assert blocks == {'backbone.blocks.0'}


def test_mim_test_from_a_wheel(wheel_python: Path, tmp_path: Path, tiny_video_folder: Path) -> None:
    name = 'quickstart_finetune_scratch.py'
    cfg = Config.fromfile(REPOSITORY / 'configs' / 'quickstart' / name)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    (tmp_path / 'list.txt').write_text('a.mp4 0\nmore/c.mp4 7\n')
    output = succeed(
        mim(
            wheel_python,
            tmp_path,
            'test',
            name,
            '--checkpoint',
            'model.pth',
            '--gpus',
            '0',
            '--cfg-options',
            f'test_dataloader.dataset.data_root={tiny_video_folder}',
            f'test_dataloader.dataset.ann_file={tmp_path / "list.txt"}',
            *no_workers('test_dataloader'),
        )
    )
    assert 'Testing finished successfully' in output
    assert 'acc/top1' in output


def test_mim_run_from_an_editable_install(editable_python: Path, tmp_path: Path) -> None:
    """A command in a folder of tools, ``folder:name``, and its own words."""
    result = mim(editable_python, tmp_path, 'run', 'data:build_list', 'no-such-data')
    assert result.returncode != 0
    printed = result.stdout + result.stderr
    assert re.search(r"invalid choice: 'no-such-data'.*sthv2", printed)
