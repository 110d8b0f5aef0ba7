"""Questions that tools/install.sh asks of the environment it sets up.

Needs nothing but Python's own library (and torch for ``mmcv-tag``), because it
runs while the environment is still half empty.
"""

import argparse
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import sysconfig
from pathlib import Path


def parse_arguments() -> argparse.Namespace:
    """The command line; see the functions for what each command prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    key = commands.add_parser('key', help='hash of what decides an install')
    key.add_argument('--files', nargs='+', required=True, type=Path)
    key.add_argument('--words', nargs='*', default=[])
    pins = commands.add_parser('pins', help='are these versions installed?')
    pins.add_argument('files', nargs='+', type=Path)
    tag = commands.add_parser('mmcv-tag', help='name of the right mmcv wheel')
    tag.add_argument('version')
    tag.add_argument('--gpu', action='store_true')
    tag.add_argument('--nvcc', default='')
    return parser.parse_args()


def install_key(files: list, words: list) -> str:
    """Hash of the files' contents, the words, and this Python."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes() + b'\0')
    for word in [*words, sys.version, sys.prefix]:
        digest.update(word.encode() + b'\0')
    return digest.hexdigest()


def installed_version(name: str) -> str:
    """Version of a package or of a lesser build of it; 'nothing' if none.

    Lesser builds are those of OpenCV without windows and of mmcv without
    operators.
    """
    for candidate in (name, f'{name}-headless', f'{name}-lite'):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return 'nothing'


def unmet_pins(files: list) -> list:
    """Lines ``name==wanted, found x`` for every pin that is not met."""
    unmet = []
    for path in files:
        for line in path.read_text(encoding='utf-8').splitlines():
            name, _, wanted = line.partition('#')[0].strip().partition('==')
            if not wanted:
                continue
            found = installed_version(name)
            if found.split('+')[0] != wanted:
                unmet.append(f'{name}=={wanted}, found {found}')
    return unmet


def cuda_obstacle(nvcc: str) -> str:
    """Why mmcv's CUDA operators cannot be compiled; '' if they can."""
    import torch

    if torch.version.cuda is None:
        return 'this PyTorch is a CPU build, so the GPU is not used at all'
    if not torch.cuda.is_available():
        return (
            f'PyTorch finds no usable GPU (the driver may be too old for CUDA {torch.version.cuda})'
        )
    if not nvcc:
        return 'there is no CUDA compiler (nvcc)'
    answer = subprocess.run([nvcc, '--version'], capture_output=True, text=True, check=False).stdout
    found = re.search(r'release (\d+)\.(\d+)', answer)
    if found is None:
        return f'{nvcc} --version does not tell its release'
    if found.group(1) != torch.version.cuda.split('.')[0]:
        return (
            f'nvcc is of CUDA {found.group(1)}.{found.group(2)}, but '
            f'PyTorch of CUDA {torch.version.cuda}'
        )
    return ''


def mmcv_tag(version: str, gpu: bool, nvcc: str) -> tuple:
    """Name of the wheel, CUDA architectures to compile for, or why none.

    Returns:
        tuple[str, str, str]: The name holds everything that decides whether a
            compiled wheel fits. The architectures are '' for CPU operators;
            the reason is '' unless there is a GPU and it gets no operators.
    """
    import torch

    flavour, architectures, obstacle = 'cpu', '', ''
    if gpu:
        obstacle = cuda_obstacle(nvcc)
        if not obstacle:
            found = sorted(
                {
                    torch.cuda.get_device_capability(index)
                    for index in range(torch.cuda.device_count())
                }
            )
            architectures = ';'.join(f'{a}.{b}' for a, b in found)
            flavour = '-'.join(
                ['cu' + torch.version.cuda.replace('.', ''), *(f'sm{a}{b}' for a, b in found)]
            )
    python = 'cp{}{}'.format(*sys.version_info[:2])
    platform = re.sub(r'\W', '_', sysconfig.get_platform())
    torch_version = torch.__version__.split('+')[0]
    tag = f'mmcv-{version}-{python}-{platform}-torch{torch_version}-{flavour}'
    return tag, architectures, obstacle


def main() -> int:
    """Answer one question; the exit status is 1 for "no"."""
    arguments = parse_arguments()
    if arguments.command == 'key':
        print(install_key(arguments.files, arguments.words))
    elif arguments.command == 'mmcv-tag':
        print('\n'.join(mmcv_tag(arguments.version, arguments.gpu, arguments.nvcc)))
    else:
        unmet = unmet_pins(arguments.files)
        print('\n'.join(unmet))
        return int(bool(unmet))
    return 0


if __name__ == '__main__':
    sys.exit(main())
