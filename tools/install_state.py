"""Answers questions of tools/install.sh about the environment that it sets up.

Needs nothing but Python's standard library (and torch for ``mmcv-tag``), because it runs while the
environment is still incomplete.
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
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    key = commands.add_parser('key', help='hash of everything that decides an installation')
    key.add_argument('--files', nargs='+', required=True, type=Path)
    key.add_argument('--words', nargs='*', default=[])
    pins = commands.add_parser('pins', help='list the pins that are not met')
    pins.add_argument('files', nargs='+', type=Path)
    tag = commands.add_parser('mmcv-tag', help='name of the right mmcv wheel')
    tag.add_argument('version')
    tag.add_argument('--gpu', action='store_true')
    tag.add_argument('--nvcc', default='')
    return parser.parse_args()


def install_key(files: list[Path], words: list[str]) -> str:
    """Hash of the files' contents, the words and this Python."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes() + b'\0')
    for word in [*words, sys.version, sys.prefix]:
        digest.update(word.encode() + b'\0')
    return digest.hexdigest()


def installed_version(name: str) -> str:
    """Version of a package, of its headless or of its lite build."""
    for candidate in (name, f'{name}-headless', f'{name}-lite'):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return 'nothing'


def unmet_pins(files: list[Path]) -> list[str]:
    """A line ``name==wanted, found x`` for every pin that is not met."""
    unmet = []
    for path in files:
        for line in path.read_text(encoding='utf-8').splitlines():
            name, _, wanted = line.partition('#')[0].strip().partition('==')
            found = installed_version(name) if wanted else ''
            if found.split('+')[0] != wanted:
                unmet.append(f'{name}=={wanted}, found {found}')
    return unmet


def cuda_obstacle(nvcc: str) -> str:
    """The reason why mmcv cannot be compiled for CUDA; '' if it can."""
    import torch

    if torch.version.cuda is None:
        return 'this PyTorch is a CPU build and does not use the GPU'
    if not torch.cuda.is_available():
        return f'PyTorch finds no GPU (is the driver too old for CUDA {torch.version.cuda}?)'
    if not nvcc:
        return 'there is no CUDA compiler (nvcc)'
    answer = subprocess.run([nvcc, '--version'], capture_output=True, text=True).stdout
    found = re.search(r'release (\d+)\.(\d+)', answer)
    if found is None or found[1] != torch.version.cuda.split('.')[0]:
        release = f'{found[1]}.{found[2]}' if found else 'unknown'
        return f'nvcc has CUDA {release}, and PyTorch CUDA {torch.version.cuda}'
    return ''


def mmcv_tag(version: str, gpu: bool, nvcc: str) -> tuple[str, str, str]:
    """Name of the mmcv wheel, CUDA architectures, and the reason if there are none.

    The name contains everything that decides whether a compiled wheel fits. The architectures are
    '' for CPU operators.
    """
    import torch

    flavour, architectures, obstacle = 'cpu', '', cuda_obstacle(nvcc) if gpu else ''
    if gpu and not obstacle:
        devices = range(torch.cuda.device_count())
        found = sorted({torch.cuda.get_device_capability(index) for index in devices})
        architectures = ';'.join(f'{major}.{minor}' for major, minor in found)
        names = [f'sm{major}{minor}' for major, minor in found]
        flavour = '-'.join([f'cu{torch.version.cuda.replace(".", "")}', *names])
    python = 'cp{}{}'.format(*sys.version_info[:2])
    platform = re.sub(r'\W', '_', sysconfig.get_platform())
    torch_version = torch.__version__.split('+')[0]
    tag = f'mmcv-{version}-{python}-{platform}-torch{torch_version}-{flavour}'
    return tag, architectures, obstacle


def main() -> int:
    """Print an answer; the exit status is 1 if pins are not met."""
    args = parse_arguments()
    if args.command == 'key':
        print(install_key(args.files, args.words))
    elif args.command == 'mmcv-tag':
        print('\n'.join(mmcv_tag(args.version, args.gpu, args.nvcc)))
    else:
        unmet = unmet_pins(args.files)
        print('\n'.join(unmet))
        return int(bool(unmet))
    return 0


if __name__ == '__main__':
    sys.exit(main())
