"""mim finds configs and tools, in a wheel and in an editable install."""

import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Tuple

import pytest
import yaml

from .conftest import REPOSITORY, empty_environment, pip_install, run, succeed

pytest.importorskip('mim', reason='openmim is not installed')

WHERE = (
    "from {0} import get_installed_path; print(get_installed_path('amd_mm'))"
)


def config_files(folder: Path) -> list:
    """All configs of a folder but the pieces in ``_base_``."""
    return [
        path
        for path in sorted(folder.rglob('*.py'))
        if '_base_' not in path.parts
    ]


def test_basenames_are_unique() -> None:
    """Mim looks for a config by its basename, in the whole package."""
    paths = config_files(REPOSITORY / 'configs')
    paths += (REPOSITORY / 'tools').rglob('*.py')
    paths += (REPOSITORY / 'amd_mm').rglob('[!_]*.py')
    paths = {path.resolve() for path in paths}
    configs = {path.name for path in config_files(REPOSITORY / 'configs')}
    counts = Counter(path.name for path in paths)
    assert [name for name in configs if counts[name] > 1] == []


def test_model_index_names_files_that_exist() -> None:
    index = yaml.safe_load((REPOSITORY / 'model-index.yml').read_text())
    for entry in index['Import']:
        metafile = REPOSITORY / entry
        assert metafile.is_file(), f'model-index.yml names {entry}'
        for model in yaml.safe_load(metafile.read_text())['Models']:
            config = REPOSITORY / model['Config']
            assert config.is_file(), f'{entry} names {model["Config"]}'


@pytest.fixture(scope='module')
def wheel(
    repository_copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp('wheel')
    succeed(
        run(
            [
                sys.executable,
                '-m',
                'pip',
                'wheel',
                '--no-deps',
                '--no-index',
                '--no-build-isolation',
                '-w',
                folder,
                repository_copy,
            ],
            folder,
        )
    )
    return next(folder.glob('amd_mm-*.whl'))


@pytest.fixture(scope='module')
def wheel_python(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Python of an environment into which the wheel was installed."""
    python = empty_environment(tmp_path_factory.mktemp('from_wheel') / 'env')
    pip_install(python, wheel)
    return python


@pytest.fixture(scope='module')
def editable_python(
    repository_copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Python of an environment with an editable install of the copy."""
    python = empty_environment(tmp_path_factory.mktemp('editable') / 'env')
    pip_install(python, '-e', repository_copy)
    return python


def sources(root: Path) -> set:
    """What must be in ``.mim``, as paths relative to it."""
    found = {'model-index.yml'}
    for folder in ('configs', 'tools'):
        for path in (root / folder).rglob('*'):
            if path.is_file() and '__pycache__' not in path.parts:
                found.add(path.relative_to(root).as_posix())
    return found


def test_wheel_holds_configs_and_tools(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    missing = {
        path
        for path in sources(REPOSITORY)
        if f'amd_mm/.mim/{path}' not in names
    }
    assert not missing
    tops = {name.split('/')[0] for name in names}
    assert len(tops) == 2, f'{tops}: amd_mm and its metadata, nothing else'
    assert not any('__pycache__' in name for name in names)


def test_sdist_makes_the_same_wheel(
    wheel: Path, repository_copy: Path, tmp_path: Path
) -> None:
    code = (
        'import setuptools.build_meta as backend; '
        f'print(backend.build_sdist({str(tmp_path)!r}))'
    )
    succeed(run([sys.executable, '-c', code], repository_copy))
    sdist = next(tmp_path.glob('*.tar.gz'))
    succeed(
        run(
            [
                sys.executable,
                '-m',
                'pip',
                'wheel',
                '--no-deps',
                '--no-index',
                '--no-build-isolation',
                '-w',
                tmp_path,
                sdist,
            ],
            tmp_path,
        )
    )
    with zipfile.ZipFile(next(tmp_path.glob('*.whl'))) as again:
        with zipfile.ZipFile(wheel) as first:
            assert set(again.namelist()) == set(first.namelist())


@pytest.mark.parametrize('asker', ['mim.utils', 'mmengine.utils'])
def test_wheel_is_found(wheel_python: Path, asker: str) -> None:
    answer = succeed(
        run(
            [wheel_python, '-W', 'ignore', '-c', WHERE.format(asker)],
            wheel_python.parent,
        )
    )
    folder = Path(answer.splitlines()[-1])
    assert wheel_python.parent.parent in folder.parents
    assert (folder / '.mim' / 'tools' / 'train.py').is_file()


@pytest.mark.parametrize('asker', ['mim.utils', 'mmengine.utils'])
def test_editable_install_is_found(
    editable_python: Path, repository_copy: Path, asker: str
) -> None:
    answer = succeed(
        run(
            [editable_python, '-W', 'ignore', '-c', WHERE.format(asker)],
            editable_python.parent,
        )
    )
    folder = Path(answer.splitlines()[-1])
    assert folder == repository_copy / 'amd_mm'
    new_config = repository_copy / 'configs' / 'written_later.py'
    new_config.write_text('x = 1\n')
    assert (folder / '.mim' / 'configs' / new_config.name).is_file()
    new_config.unlink()


def inherit(python: Path, folder: Path) -> subprocess.CompletedProcess:
    """Read a config that derives from one of the package's, elsewhere."""
    base = next(path for path in config_files(REPOSITORY / 'configs' / 'amd'))
    base = base.relative_to(REPOSITORY / 'configs').as_posix()
    (folder / 'mine.py').write_text(
        f"_base_ = 'amd_mm::{base}'\nwork_dir = 'here'\n"
    )
    code = (
        'import amd_mm; from mmengine.config import Config; '
        "print(Config.fromfile('mine.py').model.type)"
    )
    return run([python, '-W', 'ignore', '-c', code], folder)


@pytest.mark.parametrize('kind', ['wheel_python', 'editable_python'])
def test_configs_can_be_inherited(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    python = request.getfixturevalue(kind)
    assert 'amd_mm.' in succeed(inherit(python, tmp_path))


def mim_train(
    python: Path, folder: Path, *arguments: str
) -> subprocess.CompletedProcess:
    """``mim train amd_mm ...`` in an environment, from some other folder."""
    path = os.pathsep.join([str(python.parent), os.environ['PATH']])
    code = 'from mim.cli import cli; cli()'
    return run(
        [python, '-W', 'ignore', '-c', code, 'train', 'amd_mm', *arguments],
        folder,
        PATH=path,
        OMP_NUM_THREADS='1',
    )


def short_run(videos: Path) -> Tuple[str, ...]:
    """Arguments that make a run of two steps over a folder of videos."""
    return (
        '--work-dir',
        'work_dir',
        '--cfg-options',
        'train_cfg.max_iters=2',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'train_dataloader.batch_size=2',
        f'train_dataloader.dataset.data_root={videos}',
        'default_hooks.checkpoint.interval=2',
    )


def test_mim_trains_from_a_wheel_by_basename(
    wheel_python: Path, tmp_path: Path, tiny_video_folder: Path
) -> None:
    output = succeed(
        mim_train(
            wheel_python,
            tmp_path,
            'quickstart_videomae_student.py',
            '--gpus',
            '0',
            *short_run(tiny_video_folder),
        )
    )
    assert 'Training finished successfully' in output
    assert list((tmp_path / 'work_dir').glob('iter_2.pth'))


def test_mim_trains_a_derived_config_from_elsewhere(
    editable_python: Path, tmp_path: Path, tiny_video_folder: Path
) -> None:
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'amd_mm::quickstart/quickstart_videomae_student.py'\n"
        'model = dict(backbone=dict(depth=1))\n'
    )
    output = succeed(
        mim_train(
            editable_python,
            tmp_path,
            'mine.py',
            '--gpus',
            '0',
            *short_run(tiny_video_folder),
        )
    )
    assert 'Training finished successfully' in output
    assert list((tmp_path / 'work_dir').glob('iter_2.pth'))
