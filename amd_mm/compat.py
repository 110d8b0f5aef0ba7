"""Fixes that have to be in place before the host codebases are imported.

``import amd_mm`` calls :func:`apply_import_fixes` once. Each fix is a small
function that says what breaks, where, and which version makes it unnecessary;
each does nothing where nothing is broken or the package is not installed.
None of them imports a host codebase, so ``import amd_mm`` stays light.
"""

import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path

# torch.library forgets a definition when its Library object is collected.
_operator_libraries: list[object] = []

_LAUNCHER_VARIABLES = ('LOCAL_RANK', 'SLURM_LOCALID', 'OMPI_COMM_WORLD_LOCAL_RANK')


def apply_import_fixes() -> None:
    """Apply every fix of this module; calling it again changes nothing."""
    define_missing_torchvision_operators()
    stand_in_for_mmaction_drn()
    allow_launchers_without_cuda()
    name_package_for_config_inheritance()
    let_inherited_configs_name_a_collation()


def define_missing_torchvision_operators() -> None:
    """Let ``import torchvision`` succeed where its C++ library cannot load.

    torchvision registers shape functions for ``nms`` and ``qnms`` while it is
    imported. Where its own library does not load (the CUDA build of
    torchvision beside a CPU build of torch) these operators do not exist and
    the import ends in ``operator torchvision::nms does not exist``. The
    operators are only declared: transforms, models and ``ops.roi_align`` then
    work, and ``ops.nms`` raises torchvision's own error about missing
    operators. Unnecessary once both packages come as the same flavour.
    """
    if 'torchvision' in sys.modules or not _installed('torchvision'):
        return
    try:
        import torch
    except ImportError:
        return
    if _torchvision_library_loads():
        return
    library = torch.library.Library('torchvision', 'DEF')
    for name in ('nms', 'qnms'):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    _operator_libraries.append(library)


def _torchvision_library_loads() -> bool:
    """Whether torchvision's compiled operators are there and load."""
    import torch

    if hasattr(torch.ops.torchvision, 'nms'):
        return True
    for path in _package_folder('torchvision').glob('_C*'):
        try:
            torch.ops.load_library(str(path))
        except (ImportError, OSError):
            continue
        return True
    return False


def stand_in_for_mmaction_drn() -> None:
    """Provide the module that the wheel of MMAction2 1.2.0 forgot.

    ``mmaction.models.localizers`` imports ``.drn.drn``, but the folder is not
    in the wheel, so nothing of ``mmaction.models`` can be imported. Temporal
    localisation is none of this package's business: the stand-in says so when
    somebody builds it. Unnecessary with a wheel (or checkout) that has it.
    """
    name = 'mmaction.models.localizers.drn'
    if name in sys.modules or not _installed('mmaction'):
        return
    localizers = _package_folder('mmaction') / 'models' / 'localizers'
    if not localizers.is_dir() or (localizers / 'drn').is_dir():
        return

    class DRN:
        """Stand-in for MMAction2's DRN, whose code is not installed."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            raise ImportError(
                'DRN is missing from the installed MMAction2 wheel; install '
                'MMAction2 from its source repository to use it'
            )

    package, module = types.ModuleType(name), types.ModuleType(f'{name}.drn')
    package.__path__ = []
    vars(package)['drn'] = module
    vars(module)['DRN'] = DRN
    sys.modules[package.__name__] = package
    sys.modules[module.__name__] = module


def allow_launchers_without_cuda() -> None:
    """Let ``--launcher`` start processes on a machine without a GPU.

    MMEngine calls ``torch.cuda.set_device(local_rank)`` whatever the backend,
    which raises without CUDA. Only in a process that a launcher started, and
    only without CUDA, that call is made to do nothing. Unnecessary once
    ``mmengine.dist.init_dist`` asks for CUDA only with CUDA.
    """
    if not any(name in os.environ for name in _LAUNCHER_VARIABLES):
        return
    try:
        import torch
    except ImportError:
        return
    if not torch.cuda.is_available():
        torch.cuda.set_device = _set_no_device


def _set_no_device(device: object) -> None:
    """Stand-in for ``torch.cuda.set_device`` where there is no CUDA."""


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


def let_inherited_configs_name_a_collation() -> None:
    """Let a config with ``_base_ = 'amd_mm::…'`` (or another's) collate.

    MMEngine writes a key ``_scope_`` into every dict of a base config that
    belongs to another package, and hands it to the collate function as an
    argument: ``unexpected keyword argument '_scope_'``. Unnecessary once
    ``Runner.build_dataloader`` removes that key (not so in 0.10.7).
    """
    if _installed('mmengine'):
        _after_import('mmengine.runner.runner', _wrap_build_dataloader)


def _wrap_build_dataloader(module: types.ModuleType) -> None:
    """Make ``Runner.build_dataloader`` understand ``_scope_``."""
    original = module.Runner.build_dataloader
    if getattr(original, 'understands_scope', False):
        return

    def build_dataloader(
        dataloader: object, seed: int | None = None, diff_rank_seed: bool = False
    ) -> object:
        """Build a data loader; see ``mmengine.runner.Runner``."""
        if isinstance(dataloader, dict):
            dataloader = _with_scoped_collation(dataloader)
        return original(dataloader, seed, diff_rank_seed)

    vars(build_dataloader)['understands_scope'] = True
    module.Runner.build_dataloader = staticmethod(build_dataloader)


def _with_scoped_collation(dataloader: dict) -> dict:
    """Turn ``_scope_`` of a config's collation into a part of its name."""
    collate = dataloader.get('collate_fn')
    if not isinstance(collate, dict) or '_scope_' not in collate:
        return dataloader
    collate = dict(collate)
    scope, name = collate.pop('_scope_'), collate['type']
    if isinstance(name, str) and '.' not in name:
        collate['type'] = f'{scope}.{name}'
    return dict(dataloader, collate_fn=collate)


def _installed(package: str) -> bool:
    """Whether a top-level package can be found, without importing it."""
    if package in sys.modules:
        return sys.modules[package] is not None
    return importlib.util.find_spec(package) is not None


def _package_folder(package: str) -> Path:
    """Folder of an installed top-level package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f'no package named {package!r}')
    return Path(next(iter(spec.submodule_search_locations)))


def _after_import(name: str, action: Callable[[types.ModuleType], None]) -> None:
    """Call ``action(module)`` now, or right after ``name`` is imported."""
    if name in sys.modules:
        action(sys.modules[name])
    elif not any(
        isinstance(finder, _AfterImport) and finder.name == name for finder in sys.meta_path
    ):
        sys.meta_path.insert(0, _AfterImport(name, action))


class _AfterImport(MetaPathFinder, Loader):
    """Finder that runs an action once, after one module was imported."""

    def __init__(self, name: str, action: Callable[[types.ModuleType], None]) -> None:
        self.name = name
        self.action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find ``name`` as usual, but load it through this object."""
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        """Leave the creation of the module to its own loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        """Execute the module by its own loader, then run the action."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self.action(module)
