"""Packaging of amd_mm: an ordinary package, plus the folder ``mim`` reads.

``mim train amd_mm <config>`` and ``_base_ = 'amd_mm::…'`` look for configs and
tools in ``amd_mm/.mim``. A wheel carries copies there; an editable install
carries links to the source tree, so that edits show up at once.
"""

import base64
import hashlib
import os
import shutil
import zipfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
PACKAGE = 'amd_mm'
MIM_ENTRIES = ('configs', 'tools', 'model-index.yml')
# What running things in these folders leaves there.
TRACES = ('__pycache__', '*.py[cod]', 'work_dirs', '.*')


def read_version() -> str:
    """The version in amd_mm/version.py, without importing the package."""
    names = {}
    exec((ROOT / PACKAGE / 'version.py').read_text(), names)
    return names['__version__']


def read_description() -> str:
    """README.md, or nothing where only part of the tree was copied."""
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.is_file() else ''


def copy_mim_folder(target: Path) -> None:
    """Copy what mim needs into the folder ``target``, replacing it."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for entry in MIM_ENTRIES:
        source = ROOT / entry
        if source.is_dir():
            shutil.copytree(source, target / entry, ignore=shutil.ignore_patterns(*TRACES))
        else:
            shutil.copy2(source, target / entry)


def link_mim_folder() -> None:
    """Link what mim needs from the source tree's own ``amd_mm/.mim``."""
    folder = ROOT / PACKAGE / '.mim'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for entry in MIM_ENTRIES:
        try:
            os.symlink(Path('..', '..', entry), folder / entry)
        except OSError:  # Windows without the right to make links
            copy_mim_folder(folder)
            return


def replace_in_wheel(wheel: Path, ending: str, content: bytes) -> None:
    """Replace the one file of a wheel whose name has this ending."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    checksum = f'sha256={digest.decode().rstrip("=")},{len(content)}'
    changed = wheel.with_suffix('.tmp')
    with (
        zipfile.ZipFile(wheel) as source,
        zipfile.ZipFile(changed, 'w', zipfile.ZIP_DEFLATED) as target,
    ):
        for item in source.infolist():
            data = source.read(item)
            if item.filename.endswith(ending):
                data = content
            elif item.filename.endswith('.dist-info/RECORD'):
                lines = [
                    f'{line.split(",")[0]},{checksum}'
                    if line.split(',')[0].endswith(ending)
                    else line
                    for line in data.decode().splitlines()
                ]
                data = '\n'.join([*lines, '']).encode()
            target.writestr(item, data)
    changed.replace(wheel)


class BuildWithMim(build_py):
    """Puts ``.mim`` into the wheel (also into one made from an sdist)."""

    def run(self) -> None:
        """Build, from nothing, and add ``.mim``."""
        if not self.editable_mode:
            # setuptools would add to what an older build has left.
            shutil.rmtree(Path(self.build_lib, PACKAGE), ignore_errors=True)
        super().run()
        if not self.editable_mode:
            copy_mim_folder(Path(self.build_lib, PACKAGE, '.mim'))


class EditableWheelWithMim(editable_wheel):
    """``pip install -e .``: links ``.mim`` and tells mim where it is.

    mim and mmengine look for a package beside its metadata; that is in
    site-packages, where an editable package is not. Then they join that path
    with the first line of ``top_level.txt``. So that line names the folder in
    the source tree by its whole path, which a join leaves as it is; the
    package's name follows, for those who read the file as a list of names.
    """

    def run(self) -> None:
        """Link ``.mim``, build, and put the folder into the metadata."""
        link_mim_folder()
        super().run()
        names = f'{ROOT / PACKAGE}\n{PACKAGE}\n'
        for wheel in Path(self.dist_dir).glob(f'{PACKAGE}-*.whl'):
            replace_in_wheel(wheel, '.dist-info/top_level.txt', names.encode())


class DevelopWithMim(develop):
    """``python setup.py develop`` and pip's older editable installs."""

    def run(self) -> None:
        """Link ``.mim`` and install."""
        link_mim_folder()
        super().run()


setup(
    name=PACKAGE,
    version=read_version(),
    description='Asymmetric Masked Distillation for small vision transformers, on MMEngine',
    long_description=read_description(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    keywords='masked autoencoder, distillation, video, action recognition',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    python_requires='>=3.10',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    include_package_data=True,
    zip_safe=False,
    # The least that the package itself imports. mmcv is left out: it comes as
    # `mmcv` (compiled) or as `mmcv-lite`, and pip cannot choose; see
    # tools/install.sh, which also pins every version.
    install_requires=[
        'av',  # imported late: what the configs decode with
        'importlib_metadata',  # imported by mmaction2, which forgets to say so
        'mmaction2>=1.2.0,<1.3',
        'mmengine>=0.10.7,<0.11',
        'mmpretrain>=1.2.0,<1.3',  # the image ViT, RandAugment
        'numpy>=1.24',
        'safetensors>=0.4',
        'setuptools<81',  # mmengine imports pkg_resources
        'torch>=2.1',
    ],
    extras_require={
        'detection': ['mmdet>=3.3.0,<3.4', 'pycocotools', 'shapely'],
        'tools': ['imageio-ffmpeg', 'matplotlib'],
        'tests': ['filelock', 'hypothesis', 'pytest', 'pytest-xdist'],
    },
    cmdclass={
        'build_py': BuildWithMim,
        'develop': DevelopWithMim,
        'editable_wheel': EditableWheelWithMim,
    },
)
