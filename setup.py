"""Packaging of amd_mm, with the folder that ``mim`` reads.

``mim train amd_mm CONFIG`` and ``_base_ = 'amd_mm::…'`` read configs and tools from
``amd_mm/.mim``. A wheel contains copies of them, an editable install links to the source tree.
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / 'amd_mm'
MIM_ENTRIES = ('configs', 'tools', 'model-index.yml')
IGNORED = ('__pycache__', '*.py[cod]', 'work_dirs', '.*')


def copy_mim_folder(folder: Path) -> None:
    """Copy what mim reads into a new folder."""
    folder.mkdir(parents=True)
    for entry in MIM_ENTRIES:
        if (ROOT / entry).is_dir():
            ignore = shutil.ignore_patterns(*IGNORED)
            shutil.copytree(ROOT / entry, folder / entry, ignore=ignore)
        else:
            shutil.copy2(ROOT / entry, folder / entry)


class BuildWithMim(build_py):
    """Adds ``.mim`` to a wheel, also to one that is built from an sdist."""

    def run(self) -> None:
        """Build, removing what an older build has left."""
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib, 'amd_mm'), ignore_errors=True)
        super().run()
        if not self.editable_mode:
            copy_mim_folder(Path(self.build_lib, 'amd_mm', '.mim'))


class EditableWheelWithMim(editable_wheel):
    """Links ``.mim`` for ``pip install -e .`` and lets mim find it.

    mim and mmengine look for a package beside its metadata in site-packages, where an editable
    package is not, and then under the first line of ``top_level.txt``. Joining the absolute path in
    that line to any folder gives the path itself.
    """

    def finalize_options(self) -> None:
        """Install by a line of ``sys.path``.

        The default, a finder, is not asked where a folder ``amd_mm`` lies in the working directory:
        beside a clone.
        """
        super().finalize_options()
        self.mode = 'compat'

    def run(self) -> None:
        """Link, write the path into the metadata and build."""
        folder = PACKAGE / '.mim'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for entry in MIM_ENTRIES:
            os.symlink(Path('..', '..', entry), folder / entry)
        self._ensure_dist_info()
        Path(self.dist_info_dir, 'top_level.txt').write_text(f'{PACKAGE}\namd_mm\n')
        super().run()


setup(
    name='amd_mm',
    version=re.search(r"__version__ = '(.+)'", (PACKAGE / 'version.py').read_text())[1],
    description='Asymmetric Masked Distillation for small vision transformers, on MMEngine',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
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
    packages=find_packages(include=['amd_mm', 'amd_mm.*']),
    include_package_data=True,
    entry_points={'console_scripts': ['amd-mm = amd_mm.cli:main']},
    zip_safe=False,
    # The ranges that work; requirements/ has the versions that were tested together. mmcv is
    # missing because pip cannot choose between `mmcv-lite` and `mmcv`, which has to be compiled.
    install_requires=[
        'av',
        'importlib_metadata',  # imported by mmaction2, which does not require it
        # mmaction2 requires decord, which has wheels for x86 only and is not needed. On other
        # machines: pip install --no-deps mmaction2
        'mmaction2>=1.2.0,<1.3; platform_machine in "x86_64 AMD64"',
        'mmengine>=0.10.7,<0.11',
        'mmpretrain>=1.2.0,<1.3',
        'numpy>=1.24',
        'safetensors>=0.4',
        'scikit-learn',
        'scipy',
        'setuptools<81',  # mmengine imports pkg_resources
        'torch>=2.1',
        'torchvision',
    ],
    extras_require={
        'detection': ['mmdet>=3.3.0,<3.4'],
        'docs': ['mkdocs-material', 'mkdocstrings-python'],
        'export': ['onnx', 'onnxruntime', 'onnxscript'],
        'hdf5': ['h5py'],
        'huggingface': ['transformers>=4.40'],
        'timm': ['timm>=1.0'],
        'tests': ['hypothesis', 'pytest', 'pytest-cov', 'pytest-xdist'],
    },
    cmdclass={'build_py': BuildWithMim, 'editable_wheel': EditableWheelWithMim},
)
