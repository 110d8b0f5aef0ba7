"""Compile the operators of MMCV for this environment, for its GPUs if it has a CUDA compiler.

Run by ``tools/install.sh --compile-mmcv``. The wheel is kept in a cache folder ($AMD_MM_CACHE, by
default ~/.cache/amd_mm). MAX_JOBS limits the parallel compilers, which need memory.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.search(r'^mmcv-lite==(\S+)', (ROOT / 'requirements/base.txt').read_text(), re.M)[1]
CACHE = Path(os.environ.get('AMD_MM_CACHE') or Path.home() / '.cache' / 'amd_mm')
PIP = (sys.executable, '-m', 'pip')


def main() -> None:
    """Install the operators, from the cache if they were compiled before."""
    architectures, nvcc = cuda_target()
    folder = CACHE / wheel_folder(architectures)
    wheel = next(folder.glob('mmcv-*.whl'), None)
    if wheel is None:
        wheel = compile_wheel(folder, architectures, nvcc)
    print(f'Installing {wheel}')
    install = [*PIP, 'install', '--quiet', '--no-deps', '--no-index', '--force-reinstall', wheel]
    subprocess.run(install, check=True)
    if subprocess.run([sys.executable, '-c', 'import torch, mmcv._ext']).returncode:
        sys.exit(f'compile_mmcv.py: the operators do not load; remove {folder} and try again')


def cuda_target() -> tuple[str, str]:
    """The GPUs' architectures, such as ``'8.0;9.0'``, and nvcc; empty to compile for the CPU."""
    if not torch.cuda.is_available():
        return '', ''
    home = os.environ.get('CUDA_HOME', '/usr/local/cuda')
    nvcc = shutil.which('nvcc') or shutil.which('nvcc', path=f'{home}/bin')
    answer = subprocess.run([nvcc, '--version'], capture_output=True, text=True) if nvcc else None
    release = re.search(r'release (\d+)', answer.stdout) if answer else None
    if release is None or release[1] != torch.version.cuda.split('.')[0]:
        print(
            f'Compiling for the CPU: PyTorch has CUDA {torch.version.cuda}, and nvcc '
            f'{f"has CUDA {release[1]}" if release else "is missing"}'
        )
        return '', ''
    devices = range(torch.cuda.device_count())
    found = sorted({torch.cuda.get_device_capability(index) for index in devices})
    return ';'.join(f'{major}.{minor}' for major, minor in found), nvcc


def wheel_folder(architectures: str) -> str:
    """A name with everything that decides whether a wheel fits."""
    python = 'cp{}{}'.format(*sys.version_info[:2])
    torch_version = torch.__version__.split('+')[0]
    target = f'cuda{torch.version.cuda}-sm{architectures}' if architectures else 'cpu'
    platform = sysconfig.get_platform()
    return f'mmcv-{VERSION}-{python}-{platform}-torch{torch_version}-{target}'.replace(';', '-')


def compile_wheel(folder: Path, architectures: str, nvcc: str) -> Path:
    """Compile into the folder; returns the wheel."""
    settings = dict(MMCV_WITH_OPS='1', MAX_JOBS=os.environ.get('MAX_JOBS', str(os.cpu_count())))
    if architectures:
        # The CUDA headers of the pip packages are beside torch.
        headers = Path(sysconfig.get_path('purelib')).glob('nvidia/*/include')
        settings.update(FORCE_CUDA='1', TORCH_CUDA_ARCH_LIST=architectures)
        settings.update(CUDA_HOME=str(Path(nvcc).parents[1]))
        settings.update(CPATH=':'.join([*map(str, headers), os.environ.get('CPATH', '')]))
    else:
        settings.update(FORCE_CUDA='0', CUDA_VISIBLE_DEVICES='-1')
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        log = folder / 'build.log'
        print(f'Compiling mmcv {VERSION}, about 20 minutes of one core. Log: {log}', flush=True)
        # pip would keep a wheel without operators in its cache, and use it again.
        command = [*PIP, 'wheel', '-v', '--no-cache-dir', '--no-deps', '--no-build-isolation']
        command += [f'mmcv=={VERSION}', '-w', scratch]
        with log.open('wb') as file:
            environment = os.environ | settings | {'TMPDIR': scratch}
            code = subprocess.call(command, env=environment, stdout=file, stderr=file)
        if code:
            sys.exit(f'compile_mmcv.py: mmcv does not compile, see the errors in {log}')
        (wheel,) = Path(scratch).glob('mmcv-*.whl')
        return wheel.replace(folder / wheel.name)


if __name__ == '__main__':
    main()
