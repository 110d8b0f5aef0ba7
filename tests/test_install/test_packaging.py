"""The contents of the wheel and the sdist."""

import re
import sys
import tarfile
import zipfile
from collections import Counter
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import amd_mm
import pytest

from .packages import REPOSITORY, TRACES, build_wheel, repository_files, run, succeed

# Besides the package's folders, these are needed to build it.
BUILD_FILES = {
    'CHANGELOG.md',
    'LICENSE',
    'MANIFEST.in',
    'NOTICE',
    'README.md',
    'model-index.yml',
    'pyproject.toml',
    'setup.py',
}
PACKAGED_FOLDERS = ('amd_mm', 'configs', 'docs', 'requirements', 'tools')
METADATA = {'METADATA', 'RECORD', 'WHEEL', 'entry_points.txt', 'top_level.txt'}
METADATA |= {'licenses/LICENSE', 'licenses/NOTICE'}


def below(*folders: str) -> set[str]:
    """The repository's files in these folders."""
    return {name for name in repository_files() if name.split('/')[0] in folders}


@pytest.fixture
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith('/METADATA'))
        return message_from_bytes(archive.read(name))


def test_basenames_of_configs_are_unique() -> None:
    """Mim looks for a config by its basename, in the whole package."""
    configs = [p for p in (REPOSITORY / 'configs').rglob('*.py') if '_base_' not in p.parts]
    others = [*(REPOSITORY / 'tools').rglob('*.py'), *(REPOSITORY / 'amd_mm').rglob('[!_]*.py')]
    paths = {path.resolve() for path in [*configs, *others]}  # .mim may be a link to them
    counts = Counter(path.name for path in paths)
    assert [path for path in configs if counts[path.name] > 1] == []


def test_wheel_holds_the_package_and_what_mim_reads(wheel: Path) -> None:
    assert not set(TRACES) & set(repository_files())
    info = f'amd_mm-{amd_mm.__version__}.dist-info'
    for_mim = below('configs', 'tools') | {'model-index.yml'}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == (
            below('amd_mm')
            | {f'amd_mm/.mim/{name}' for name in for_mim}
            | {f'{info}/{name}' for name in METADATA}
        )


def test_sdist_holds_the_sources_and_makes_the_same_wheel(
    wheel: Path, source_tree: Path, tmp_path: Path
) -> None:
    code = f'import setuptools.build_meta as backend; backend.build_sdist({str(tmp_path)!r})'
    succeed(run([sys.executable, '-c', code], source_tree))
    (sdist,) = tmp_path.glob('amd_mm-*.tar.gz')
    with tarfile.open(sdist) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    names = {name.partition('/')[2] for name in files}
    made = {'PKG-INFO', 'setup.cfg'} | {n for n in names if n.startswith('amd_mm.egg-info/')}
    assert names - made == below(*PACKAGED_FOLDERS) | BUILD_FILES
    with zipfile.ZipFile(build_wheel(sdist, tmp_path)) as one, zipfile.ZipFile(wheel) as other:
        assert set(one.namelist()) == set(other.namelist())
        for name in one.namelist():
            assert one.read(name) == other.read(name), name


def test_version_is_written_once(metadata: Message) -> None:
    version = amd_mm.__version__
    assert re.fullmatch(r'\d+\.\d+\.\d+([ab]\d+|rc\d+)?', version)
    assert metadata['Version'] == version
    changelog = (REPOSITORY / 'CHANGELOG.md').read_text(encoding='utf-8')
    heading = re.search(r'^## \[(.+?)\] - (unreleased|\d{4}-\d\d-\d\d)$', changelog, re.M)
    assert heading is not None and heading[1] == version


def test_licence_is_shipped(metadata: Message) -> None:
    # Newer versions of setuptools write the second field.
    assert (metadata['License'] or metadata['License-Expression']) == 'Apache-2.0'
    assert set(metadata.get_all('License-File')) == {'LICENSE', 'NOTICE'}
    assert 'END OF TERMS AND CONDITIONS' in (REPOSITORY / 'LICENSE').read_text()


def test_notice_names_every_licence_of_the_model_zoo() -> None:
    zoo = (REPOSITORY / 'docs' / 'model_zoo.md').read_text(encoding='utf-8')
    notice = ' '.join((REPOSITORY / 'NOTICE').read_text().split())
    licences = set(re.findall(r'CC-BY[\w.-]+|Apache-2\.0|no licence file', zoo))
    assert 'CC-BY-NC-4.0' in licences
    assert [name for name in licences if name not in notice] == []
    for owner in ('VideoMAE', 'MAE', 'DMAE', 'AMD', 'TinyMIM', 'VideoMAE v2'):
        assert re.search(rf'\b{owner}\b', notice), owner


def test_requirements_are_what_the_package_imports(metadata: Message) -> None:
    needs = metadata.get_all('Requires-Dist')
    plain = {re.split(r'[<>=!; ]', need)[0] for need in needs if 'extra' not in need}
    assert {'mmengine', 'mmaction2', 'mmpretrain', 'torch', 'av'} <= plain
    # The user chooses between compiled and not, and detection is optional.
    assert not plain & {'mmcv', 'mmcv-lite', 'mmdet', 'openmim'}
