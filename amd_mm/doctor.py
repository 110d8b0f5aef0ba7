"""Says what works here and, for what does not, why and what to do.

``python -m amd_mm.doctor`` needs none of the packages it looks for. Its exit
status is 0 when the core (pre-training, recognition and reading videos) works.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Names of one package are alternatives; the first one found is shown.
PACKAGES: tuple[tuple[str, ...], ...] = (
    ('amd_mm',),
    ('torch',),
    ('torchvision',),
    ('numpy',),
    ('mmengine',),
    ('mmcv', 'mmcv-lite'),
    ('mmaction2',),
    ('mmpretrain',),
    ('mmdet',),
    ('openmim',),
    ('decord',),
    ('av',),
    ('torchcodec',),
    ('opencv-python', 'opencv-python-headless'),
    ('imageio-ffmpeg',),
    ('safetensors',),
    ('setuptools',),
)

INSTALL = 'run: bash tools/install.sh'


class Problem(Exception):
    """What does not work, and how to mend it."""

    def __init__(self, why: str, fix: str = INSTALL) -> None:
        super().__init__(why)
        self.fix = fix


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name (str): What was checked.
        core (bool): Whether the package is of no use without it.
        works (bool): Whether it works.
        detail (str): What was found; '' if it does not work.
        why (str): Why it does not work; '' if it does.
        fix (str): What to do about it; '' if it works.
    """

    name: str
    core: bool
    works: bool
    detail: str = ''
    why: str = ''
    fix: str = ''


def installed_versions() -> dict[str, str | None]:
    """Versions of the packages that matter; None for one that is missing."""
    versions: dict[str, str | None] = {'python': platform.python_version()}
    for names in PACKAGES:
        found = [(name, _version(name)) for name in names if _version(name)]
        name, version = found[0] if found else (names[0], None)
        versions[name] = version
    return versions


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _require(module: str, fix: str = INSTALL) -> Any:
    """Import a module, or say which one is missing or broken, and the fix."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Problem(f'the module {error.name} is not installed', fix) from error
    except Exception as error:
        # A broken package can fail in any way, an assertion included.
        raise Problem(_one_line(module, error), _fix_for(error, fix)) from error


def _one_line(what: str, error: Exception) -> str:
    lines = str(error).strip().splitlines() or ['no message']
    return f'{what}: {type(error).__name__}: {lines[0]}'


def _fix_for(error: Exception, otherwise: str) -> str:
    if 'libGL' in str(error):
        return (
            'install the system library (Debian, Ubuntu: sudo apt-get '
            'install libgl1), or run: bash tools/install.sh'
        )
    return otherwise


def check_pretraining() -> str:
    """One step of a tiny AMD model: forward, losses and gradients."""
    import_order = (
        'torch',
        'mmengine',
        'mmcv',
        'mmaction.models',
        'amd_mm.models',
        'amd_mm.datasets',
        'amd_mm.engine',
    )
    for module in import_order:
        _require(module)
    import torch
    from amd_mm.registry import MODELS

    model = MODELS.build(_tiny_amd())
    clips = torch.zeros(1, 1, 3, 4, 32, 32)
    losses = model(clips, [], mode='loss')
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    total.backward()
    return 'one step of a tiny AMD model was made'


def _tiny_amd() -> dict:
    """Config of an AMD model that fits a 4-frame clip of 32x32 pixels."""

    def vit(width: int) -> dict:
        return dict(
            type='amd_mm.VideoVisionTransformer',
            img_size=32,
            patch_size=16,
            embed_dims=width,
            depth=2,
            num_heads=1,
            num_frames=4,
            use_mean_pooling=False,
        )

    return dict(
        type='amd_mm.AMD',
        backbone=vit(32),
        teacher=dict(type='amd_mm.FrozenTeacher', backbone=vit(48), random_init=True),
        mask_generator=dict(
            type='amd_mm.AsymmetricTubeMaskGenerator', student_ratio=0.75, teacher_ratio=0.5
        ),
        decoder=dict(type='amd_mm.PixelDecoder', embed_dims=16, depth=1, num_heads=1),
        neck=dict(type='amd_mm.SerialAlignment', generator_depth=1),
        head=dict(type='amd_mm.PixelReconstructionHead'),
        layer_pairs=[(1, 1), (2, 2)],
    )


def check_video_reading() -> str:
    """At least one of the video decoders can be imported."""
    broken, working = [], []
    for module in ('decord', 'av', 'cv2', 'torchcodec'):
        if importlib.util.find_spec(module) is None:
            continue
        try:
            _require(module)
            working.append({'av': 'pyav', 'cv2': 'opencv'}.get(module, module))
        except Problem as problem:
            broken.append(str(problem))
    if not working:
        raise Problem('; '.join(broken) or 'no video decoder is installed')
    detail = f'decoders: {", ".join(working)}'
    return '; '.join([detail, *(f'not usable: {line}' for line in broken)])


def check_pyav() -> str:
    """PyAV, without which the configs need another decoder."""
    _require(
        'av',
        'run: pip install av, or train with --cfg-options '
        'train_dataloader.dataset.pipeline.0.backend=decord',
    )
    return 'decodes for the configs that read video files'


def check_recognition() -> str:
    """MMAction2's recogniser takes our backbone."""
    _require('mmaction.datasets')
    _require('mmaction.models')
    from mmaction.registry import MODELS

    if MODELS.get('amd_mm.VideoVisionTransformer') is None:
        raise Problem('MMAction2 does not find amd_mm in its registry')
    return 'Recognizer3D and TimeSformerHead of MMAction2'


def check_image() -> str:
    """MMPretrain and torchvision, for images."""
    _require('torchvision')
    _require('mmpretrain.models')
    return 'models of MMPretrain'


def check_detection() -> str:
    """MMDetection and mmcv's compiled operators, for AVA."""
    fix = 'run: bash tools/install.sh (without --no-detection; it compiles mmcv)'
    if _version('mmcv-lite') and not _version('mmcv'):
        raise Problem('mmcv-lite has no compiled operators', fix)
    _require('mmcv._ext', fix)
    _require('mmdet.models', fix)
    import torch
    from mmcv.ops import nms

    nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    return "mmdet, with mmcv's compiled operators"


def check_gpu() -> str:
    """CUDA, and whether mmcv was compiled for it."""
    torch = _require('torch')
    if torch.version.cuda is None and torch.version.hip is None:
        raise Problem(
            'this PyTorch is a CPU build', 'nothing to do on a machine without an NVIDIA GPU'
        )
    if not torch.cuda.is_available():
        raise Problem(
            'PyTorch finds no GPU',
            'nothing to do on a machine without one; else see nvidia-smi: is '
            f'the driver new enough for CUDA {torch.version.cuda}?',
        )
    count = torch.cuda.device_count()
    detail = f'{count} x {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}'
    if not torch.cuda.is_bf16_supported():
        detail += "; no bfloat16: take precision='fp32'"
    if not _mmcv_has_cuda():
        detail += (
            "; mmcv's operators are for the CPU only (matters to "
            'detection: RoIAlign(use_torchvision=True))'
        )
    return detail


def _mmcv_has_cuda() -> bool:
    try:
        from mmcv.ops import get_compiling_cuda_version

        return get_compiling_cuda_version() != 'not available'
    except Exception:
        # mmcv-lite, or operators of another PyTorch: none in any case.
        return False


def check_mim() -> str:
    """``mim train amd_mm …`` finds configs and tools."""
    _require('mim')
    # mim looks among installed packages only; ask from another folder.
    answer = subprocess.run(
        [
            sys.executable,
            '-W',
            'ignore',
            '-c',
            "from mim.utils import get_installed_path; print(get_installed_path('amd_mm'))",
        ],
        cwd=sys.prefix,
        capture_output=True,
        text=True,
        check=False,
    )
    fix = 'run: pip install --no-deps --no-build-isolation -e . (in the repository)'
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ['no message'])[-1]
        raise Problem(f'mim does not find amd_mm: {last}', fix)
    folder = Path(answer.stdout.strip().splitlines()[-1], '.mim')
    for entry in ('configs', 'tools/train.py', 'model-index.yml'):
        if not (folder / entry).exists():
            raise Problem(f'{folder / entry} is missing', fix)
    return f'mim train amd_mm <config>, from {folder}'


CHECKS: tuple[tuple[str, bool, Callable[[], str]], ...] = (
    ('pre-training', True, check_pretraining),
    ('reading videos', True, check_video_reading),
    ('PyAV', False, check_pyav),
    ('recognition', True, check_recognition),
    ('image', False, check_image),
    ('detection', False, check_detection),
    ('GPU', False, check_gpu),
    ('mim', False, check_mim),
)


def examine() -> list[Finding]:
    """Make every check; a failure of one is a finding, not an error."""
    return [_examine_one(*check) for check in CHECKS]


def _examine_one(name: str, core: bool, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, core, True, detail=check())
    except Problem as problem:
        return Finding(name, core, False, why=str(problem), fix=problem.fix)
    except Exception as error:
        # What a check runs belongs to others and may fail in any way.
        return Finding(name, core, False, why=_one_line(name, error), fix=INSTALL)


def report(versions: dict[str, str | None], findings: list[Finding]) -> str:
    """The text that is printed without ``--json``."""
    found = [f'{name} {version}' for name, version in versions.items() if version]
    missing = [name for name, version in versions.items() if not version]
    lines = [*_wrapped('versions', found), *_wrapped('not installed', missing)]
    for finding in findings:
        mark = 'works' if finding.works else 'DOES NOT WORK'
        if not finding.core and not finding.works:
            mark = 'no'
        lines.append(f'{finding.name:<15} {mark}: {finding.detail or finding.why}')
        if finding.fix:
            lines.append(f'{"":<15} {finding.fix}')
    return '\n'.join(lines)


def _wrapped(title: str, words: list[str], width: int = 79) -> list[str]:
    lines, line = [], f'{title:<15}'
    for index, word in enumerate(words):
        word += ',' if index + 1 < len(words) else ''
        if len(line) + len(word) + 1 > width:
            lines.append(line)
            line = ' ' * 15
        line += ' ' + word
    return [*lines, line] if words else []


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep what packages print while they are imported out of the report."""
    logging.disable(logging.WARNING)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter('ignore')
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 0 when everything of the core works, else 1."""
    parser = argparse.ArgumentParser(prog='python -m amd_mm.doctor', description=__doc__)
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    options = parser.parse_args(arguments)
    with _without_chatter():
        versions, findings = installed_versions(), examine()
    healthy = all(finding.works for finding in findings if finding.core)
    if options.json:
        print(
            json.dumps(
                dict(
                    works=healthy,
                    versions=versions,
                    checks=[asdict(finding) for finding in findings],
                ),
                indent=2,
            )
        )
    else:
        print(report(versions, findings))
    return 0 if healthy else 1


if __name__ == '__main__':
    sys.exit(main())
