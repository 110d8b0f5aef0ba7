"""List what works in this environment, and how to fix the rest.

``python -m amd_mm.doctor`` runs without any of the packages that it checks. The exit status is 0 if
pre-training, recognition and reading videos work.
"""

import argparse
import contextlib
import importlib
import io
import json
import logging
import platform
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

# Alternatives are separated by a space; the first one that is installed is shown.
PACKAGES = (
    'amd_mm', 'torch', 'torchvision', 'numpy', 'mmengine', 'mmcv mmcv-lite', 'mmaction2',
    'mmpretrain', 'mmdet', 'openmim', 'av', 'decord', 'torchcodec',
    'opencv-python opencv-contrib-python-headless', 'scikit-learn', 'safetensors', 'setuptools',
)  # fmt: skip


def check_pretraining() -> str:
    """Make one step of a tiny AMD model, on 4 frames of 32 x 32 pixels."""
    for module in ('torch', 'mmengine', 'mmcv', 'mmaction.models', 'amd_mm.models'):
        importlib.import_module(module)
    import torch
    from amd_mm.registry import MODELS

    vit = dict(type='amd_mm.VideoVisionTransformer', img_size=32, patch_size=16, num_frames=4)
    vit.update(depth=2, num_heads=1, use_mean_pooling=False)
    cfg = dict(
        type='amd_mm.AMD',
        backbone=dict(vit, embed_dims=32),
        teacher=dict(
            type='amd_mm.FrozenTeacher', backbone=dict(vit, embed_dims=48), random_init=True
        ),
        mask_generator=dict(
            type='amd_mm.AsymmetricTubeMaskGenerator', student_ratio=0.75, teacher_ratio=0.5
        ),
        decoder=dict(type='amd_mm.PixelDecoder', embed_dims=16, depth=1, num_heads=1),
        neck=dict(type='amd_mm.SerialAlignment', generator_depth=1),
        head=dict(type='amd_mm.PixelReconstructionHead'),
        layer_pairs=[(1, 1), (2, 2)],
    )
    losses = MODELS.build(cfg)(torch.zeros(1, 1, 3, 4, 32, 32), [], mode='loss')
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()
    return 'made one step of a tiny AMD model'


def check_videos() -> str:
    """Find at least one video decoder."""
    from amd_mm.datasets.video_reader import BACKENDS

    working, errors = [], []
    for name, reader in BACKENDS.items():
        try:
            reader.library()
            working.append(name)
        except ImportError as error:
            if find_spec(reader.requirement) is not None:
                errors.append(one_line(error))
    if not working:
        raise ImportError('; '.join(errors) or f'none of {", ".join(BACKENDS)} is installed')
    text = f'decoders: {", ".join(working)}'
    if 'pyav' not in working:
        text += (
            '; the configs need PyAV (pip install av) or --cfg-options '
            f'train_dataloader.dataset.pipeline.0.backend={working[0]}'
        )
    return '; '.join([text, *errors])


def check_recognition() -> str:
    """Find our backbone in MMAction2's registry."""
    importlib.import_module('mmaction.models')
    importlib.import_module('mmaction.datasets')
    from mmaction.registry import MODELS

    if MODELS.get('amd_mm.VideoVisionTransformer') is None:
        raise ImportError("amd_mm is missing from MMAction2's registry")
    return "MMAction2's recognisers"


def check_images() -> str:
    """Import what image models need."""
    importlib.import_module('torchvision')
    importlib.import_module('mmpretrain.models')
    return "MMPretrain's models"


def check_detection() -> str:
    """Run an operator of mmcv that MMDetection needs."""
    importlib.import_module('mmdet.models')
    import torch
    from mmcv.ops import get_compiling_cuda_version, nms

    nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    if sys.modules['mmcv._ext'].__name__ == 'mmcv._ext':
        return f"MMDetection with mmcv's compiled operators, CUDA {get_compiling_cuda_version()}"
    return (
        'MMDetection with RoIAlign and NMS of torchvision; for other operators: '
        'bash tools/install.sh --compile-mmcv'
    )


def check_gpu() -> str:
    """Find a GPU."""
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f'PyTorch {torch.__version__} finds no GPU')
    bf16 = '' if torch.cuda.is_bf16_supported() else "; use optim_wrapper.precision='fp32'"
    name = torch.cuda.get_device_name(0)
    return f'{torch.cuda.device_count()} x {name}, CUDA {torch.version.cuda}{bf16}'


def check_mim() -> str:
    """Find the configs and tools as ``mim train amd_mm`` does."""
    from mim.utils import get_installed_path

    folder = Path(get_installed_path('amd_mm'), '.mim')
    for entry in ('configs', 'tools/train.py', 'model-index.yml'):
        if not (folder / entry).exists():
            raise FileNotFoundError(f'{folder / entry} does not exist')
    return f'mim train amd_mm CONFIG, from {folder}'


INSTALL = 'run: bash tools/install.sh'
CHECKS = (  # name, whether the package is useless without it, check, remedy
    ('pre-training', True, check_pretraining, INSTALL),
    ('reading videos', True, check_videos, INSTALL),
    ('recognition', True, check_recognition, INSTALL),
    ('images', False, check_images, INSTALL),
    ('detection', False, check_detection, INSTALL),
    ('GPU', False, check_gpu, 'with an NVIDIA GPU: compare CUDA in nvidia-smi and in PyTorch'),
    ('mim', False, check_mim, INSTALL),
)


def one_line(error: Exception) -> str:
    """Type and first line of an error."""
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0] if lines else "no message"}'


def run_checks() -> list[dict]:
    """The results of ``CHECKS``; a failure is a result."""
    results = []
    for name, core, check, fix in CHECKS:
        try:
            found = dict(works=True, detail=check(), fix='')
        except Exception as error:  # other packages can raise anything
            found = dict(works=False, detail=one_line(error), fix=fix)
        results.append(dict(name=name, core=core, **found))
    return results


def installed_versions() -> dict[str, str | None]:
    """The versions of Python and of ``PACKAGES``; None for a missing one."""
    versions: dict[str, str | None] = {'python': platform.python_version()}
    for names in PACKAGES:
        for name in names.split():
            with contextlib.suppress(PackageNotFoundError):
                versions[name] = version(name)
                break
        else:
            versions[names.split()[0]] = None
    return versions


def main(arguments: list[str] | None = None) -> int:
    """Print the results; returns 0 if everything of the core works, else 1."""
    parser = argparse.ArgumentParser(prog='python -m amd_mm.doctor', description=__doc__)
    parser.add_argument('--json', action='store_true', help='print the results as JSON')
    options = parser.parse_args(arguments)
    # Suppress what packages print during import.
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        versions, checks = installed_versions(), run_checks()
    works = all(check['works'] for check in checks if check['core'])
    if options.json:
        print(json.dumps(dict(works=works, versions=versions, checks=checks), indent=2))
        return int(not works)
    print('installed: ' + ', '.join(f'{name} {v}' for name, v in versions.items() if v))
    print('missing:   ' + ', '.join(name for name, v in versions.items() if not v))
    for check in checks:
        state = 'works' if check['works'] else 'DOES NOT WORK' if check['core'] else 'no'
        print(f'{check["name"]:<15} {state}: {check["detail"]}')
        if check['fix']:
            print(f'{"":<15} {check["fix"]}')
    return int(not works)


if __name__ == '__main__':
    sys.exit(main())
