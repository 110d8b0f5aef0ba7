"""What is in the wheel and the sdist, and that both are of one version."""

import re
import tarfile
import zipfile
from collections import Counter
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import amd_mm

from .packages import REPOSITORY, TRACES, build_sdist, build_wheel, repository_files

# Beside the package's own folders, these are what it takes to build it.
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
METADATA = {'METADATA', 'RECORD', 'WHEEL', 'licenses/LICENSE', 'licenses/NOTICE', 'top_level.txt'}


def config_files(folder: Path) -> list:
    """All configs of a folder but the pieces in ``_base_``."""
    return [path for path in sorted(folder.rglob('*.py')) if '_base_' not in path.parts]


def test_basenames_are_unique() -> None:
    """Mim looks for a config by its basename, in the whole package."""
    paths = config_files(REPOSITORY / 'configs')
    paths += (REPOSITORY / 'tools').rglob('*.py')
    paths += (REPOSITORY / 'amd_mm').rglob('[!_]*.py')
    paths = {path.resolve() for path in paths}
    configs = {path.name for path in config_files(REPOSITORY / 'configs')}
    counts = Counter(path.name for path in paths)
    assert [name for name in configs if counts[name] > 1] == []


def below(*folders: str) -> set[str]:
    """The repository's files in these folders."""
    return {name for name in repository_files() if name.split('/')[0] in folders}


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith('/METADATA'))
        return message_from_bytes(archive.read(name))


def test_traces_are_none_of_the_repository() -> None:
    """Or the next test would show nothing."""
    assert not set(TRACES) & set(repository_files())


def test_wheel_holds_the_package_and_what_mim_reads(wheel: Path) -> None:
    info = f'amd_mm-{amd_mm.__version__}.dist-info'
    for_mim = below('configs', 'tools') | {'model-index.yml'}
    assert names_in(wheel) == (
        below('amd_mm')
        | {f'amd_mm/.mim/{name}' for name in for_mim}
        | {f'{info}/{name}' for name in METADATA}
    )


def test_sdist_holds_the_sources_and_makes_the_same_wheel(
    wheel: Path, source_tree: Path, tmp_path: Path
) -> None:
    sdist = build_sdist(source_tree, tmp_path)
    with tarfile.open(sdist) as archive:
        names = {
            member.name.partition('/')[2] for member in archive.getmembers() if member.isfile()
        }
    made = {'PKG-INFO', 'setup.cfg'}
    made |= {name for name in names if name.startswith('amd_mm.egg-info/')}
    assert names - made == below(*PACKAGED_FOLDERS) | BUILD_FILES
    again = build_wheel(sdist, tmp_path)
    with zipfile.ZipFile(again) as one, zipfile.ZipFile(wheel) as other:
        assert set(one.namelist()) == set(other.namelist())
        for name in one.namelist():
            assert one.read(name) == other.read(name), name


def test_version_is_written_once(wheel: Path) -> None:
    version = amd_mm.__version__
    assert re.fullmatch(r'\d+\.\d+\.\d+([ab]\d+|rc\d+)?', version)
    assert metadata_of(wheel)['Version'] == version
    changelog = (REPOSITORY / 'CHANGELOG.md').read_text(encoding='utf-8')
    heading = re.search(r'^## \[(.+?)\] - (.+)$', changelog, re.M)
    assert heading is not None and heading[1] == version
    assert re.fullmatch(r'unreleased|\d{4}-\d\d-\d\d', heading[2])
    assert re.search(r'^### (Added|Changed|Fixed)$', changelog, re.M)


def test_licence_is_complete_and_shipped(wheel: Path) -> None:
    metadata = metadata_of(wheel)
    # Newer versions of setuptools write the second.
    stated = metadata['License'] or metadata['License-Expression']
    assert stated == 'Apache-2.0'
    assert set(metadata.get_all('License-File')) == {'LICENSE', 'NOTICE'}
    licence = (REPOSITORY / 'LICENSE').read_text()
    for number in range(1, 10):
        assert re.search(rf'^ +{number}\. [A-Z]', licence, re.M), number
    assert 'END OF TERMS AND CONDITIONS' in licence
    assert 'APPENDIX: How to apply the Apache License' in licence


def test_notice_explains_every_licence_of_the_model_zoo() -> None:
    """By its name; rows may also point elsewhere for it."""
    zoo = (REPOSITORY / 'docs' / 'model_zoo.md').read_text(encoding='utf-8')
    notice = ' '.join((REPOSITORY / 'NOTICE').read_text().split())
    licences = set(re.findall(r'CC-BY[\w.-]+|Apache-2\.0|no licence file', zoo))
    assert 'CC-BY-NC-4.0' in licences
    assert [name for name in licences if name not in notice] == []
    for owner in ('VideoMAE', 'MAE', 'DMAE', 'AMD', 'TinyMIM', 'VideoMAE v2'):
        assert re.search(rf'\b{owner}\b', notice), owner


def test_declared_needs_are_what_the_package_imports(wheel: Path) -> None:
    needs = metadata_of(wheel).get_all('Requires-Dist')
    plain = {re.split(r'[<>=!; ]', need)[0] for need in needs if 'extra' not in need}
    assert {'mmengine', 'mmaction2', 'mmpretrain', 'torch'} <= plain
    assert 'av' in plain  # the pre-training configs decode with it
    # Compiled or not is the user's choice, and detection is optional.
    assert not plain & {'mmcv', 'mmcv-lite', 'mmdet', 'openmim'}
