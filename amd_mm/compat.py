"""Fixes for the host packages that must be in place before they are imported.

``import amd_mm`` applies them. Each has its reason and the version that makes it unnecessary, does
nothing where it is not needed, and imports no host codebase.
"""

import importlib.util
import os
import sys
import types
from pathlib import Path

# torch.library forgets a definition when its Library object is collected.
_operator_libraries: list[object] = []

_LAUNCHER_VARIABLES = ('LOCAL_RANK', 'SLURM_LOCALID', 'OMPI_COMM_WORLD_LOCAL_RANK')


def apply_import_fixes() -> None:
    """Apply every fix; a second call changes nothing."""
    define_missing_torchvision_operators()
    stand_in_for_mmaction_drn()
    stand_in_for_mmcv_operators()
    stand_in_for_multimodal_models()
    allow_launchers_without_cuda()
    name_package_for_config_inheritance()


def define_missing_torchvision_operators() -> None:
    """Let ``import torchvision`` succeed if its C++ library cannot be loaded.

    A CUDA build of torchvision beside a CPU build of torch fails with ``operator torchvision::nms
    does not exist``, because the import registers shape functions for ``nms`` and ``qnms``. They
    are only declared here: transforms, models and ``ops.roi_align`` work, and ``ops.nms`` raises
    torchvision's own error. Unnecessary if both packages are of the same build.
    """
    folder = _folder('torchvision')
    if 'torchvision' in sys.modules or not folder or not _folder('torch'):
        return
    import torch

    if hasattr(torch.ops.torchvision, 'nms') or any(map(_loads, folder.glob('_C*'))):
        return
    library = torch.library.Library('torchvision', 'DEF')
    for name in ('nms', 'qnms'):
        library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    _operator_libraries.append(library)


def _loads(library: Path) -> bool:
    import torch

    try:
        torch.ops.load_library(str(library))
    except (ImportError, OSError):
        return False
    return True


def stand_in_for_mmaction_drn() -> None:
    """Provide ``mmaction.models.localizers.drn``, which the wheel of MMAction2 1.2.0 lacks.

    ``mmaction.models`` imports it. Unnecessary with a wheel or checkout that has the folder.
    """
    name = 'mmaction.models.localizers.drn'
    mmaction = _folder('mmaction')
    if name in sys.modules or not mmaction or not (mmaction / 'models/localizers').is_dir():
        return
    if (mmaction / 'models/localizers/drn').is_dir():
        return

    class DRN:
        """Temporal localisation model whose code is missing."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            raise ImportError(
                'DRN is missing from the installed MMAction2 wheel; install MMAction2 from its '
                'source repository to use it'
            )

    package, module = types.ModuleType(name), types.ModuleType(f'{name}.drn')
    package.__path__ = []
    vars(package)['drn'] = module
    vars(module)['DRN'] = DRN
    sys.modules[package.__name__] = package
    sys.modules[module.__name__] = module


def stand_in_for_mmcv_operators() -> None:
    """Let ``mmcv.ops`` and MMDetection import where MMCV's operators are not compiled.

    They import ``mmcv._ext``, which mmcv-lite lacks, and so does a wheel of mmcv that was built
    without operators. Unnecessary with compiled operators.
    """
    mmcv = _folder('mmcv')
    if 'mmcv._ext' in sys.modules or not mmcv or any(mmcv.glob('_ext*')) or not _folder('torch'):
        return
    from . import mmcv_operators

    sys.modules['mmcv._ext'] = mmcv_operators


def stand_in_for_multimodal_models() -> None:
    """Let MMAction2 and MMPretrain import beside a current transformers.

    Their multimodal models import functions from ``transformers.modeling_utils`` that have moved.
    Empty modules replace these models. Unnecessary with an older transformers.
    """
    transformers = _folder('transformers')
    if not transformers or 'apply_chunking_to_forward' in (
        transformers / 'modeling_utils.py'
    ).read_text('utf-8'):
        return
    for name in ('mmaction.models.multimodal', 'mmpretrain.models.multimodal'):
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)


def allow_launchers_without_cuda() -> None:
    """Let ``--launcher`` start processes on a machine without GPU.

    MMEngine calls ``torch.cuda.set_device`` for every backend, which raises without CUDA. In a
    process that a launcher started, without CUDA, the call does nothing. Unnecessary once
    ``mmengine.dist.init_dist`` asks for CUDA first (not so in 0.10.7).
    """
    if not _folder('torch') or not any(name in os.environ for name in _LAUNCHER_VARIABLES):
        return
    import torch

    if not torch.cuda.is_available():
        torch.cuda.set_device = lambda device: None


def name_package_for_config_inheritance() -> None:
    """Let a config derive from ``amd_mm::amd/pretrain/….py``.

    MMEngine finds the packages of OpenMMLab only, and writes a key ``_scope_`` into every dict of
    a base from another package. That key makes ``amd_mm`` the scope of everything built inside:
    MMAction2's head would look for its default ``CrossEntropyLoss`` there. Our configs scope
    every type, so they need no such key. Unnecessary once MMEngine accepts any installed package
    and has an option for the scope (not so in 0.10.7).
    """
    try:
        from mmengine.config import Config, utils
    except ImportError:
        return
    if 'amd_mm' in utils.MODULE2PACKAGE:
        return
    utils.MODULE2PACKAGE['amd_mm'] = 'amd_mm'
    original = Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        path, scope = original(cfg_path, filename)
        return path, None if scope == 'amd_mm' else scope

    Config._get_cfg_path = staticmethod(get_cfg_path)


def _folder(package: str) -> Path | None:
    """Folder of a top-level package, without importing it; None if it is not installed."""
    if sys.modules.get(package, package) is None:
        return None
    spec = importlib.util.find_spec(package)
    return Path(next(iter(spec.submodule_search_locations or ['']))) if spec else None
