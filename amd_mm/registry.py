"""The registries of ``amd_mm``: children of MMEngine's roots.

A scoped name such as ``amd_mm.AMD`` makes MMEngine import this module, whose
``locations`` import what the name stands for. So ``type='amd_mm.AMD'`` works
from any ``default_scope`` and any folder, without ``custom_imports``.
"""

from mmengine import registry as root
from mmengine.registry import Registry

_MODELS = ['amd_mm.models']
_DATASETS = ['amd_mm.datasets']
_ENGINE = ['amd_mm.engine']

MODELS = Registry(
    'model', parent=root.MODELS, scope='amd_mm', locations=_MODELS
)
DATASETS = Registry(
    'dataset', parent=root.DATASETS, scope='amd_mm', locations=_DATASETS
)
TRANSFORMS = Registry(
    'transform',
    parent=root.TRANSFORMS,
    scope='amd_mm',
    locations=['amd_mm.datasets.transforms'],
)
DATA_SAMPLERS = Registry(
    'data sampler',
    parent=root.DATA_SAMPLERS,
    scope='amd_mm',
    locations=_DATASETS,
)
FUNCTIONS = Registry(
    'function', parent=root.FUNCTIONS, scope='amd_mm', locations=_DATASETS
)
HOOKS = Registry('hook', parent=root.HOOKS, scope='amd_mm', locations=_ENGINE)
OPTIM_WRAPPERS = Registry(
    'optim_wrapper',
    parent=root.OPTIM_WRAPPERS,
    scope='amd_mm',
    locations=_ENGINE,
)
METRICS = Registry(
    'metric',
    parent=root.METRICS,
    scope='amd_mm',
    locations=['amd_mm.evaluation'],
)

# Nothing of ours is registered in these. They are here because MMEngine looks
# for a registry of the scope when a config derives from one of this package
# (``_base_ = 'amd_mm::...'``), and warns where there is none.
LOOPS = Registry('loop', parent=root.LOOPS, scope='amd_mm', locations=_ENGINE)
OPTIMIZERS = Registry(
    'optimizer', parent=root.OPTIMIZERS, scope='amd_mm', locations=_ENGINE
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    scope='amd_mm',
    locations=_ENGINE,
)
PARAM_SCHEDULERS = Registry(
    'parameter scheduler',
    parent=root.PARAM_SCHEDULERS,
    scope='amd_mm',
    locations=_ENGINE,
)
LOG_PROCESSORS = Registry(
    'log_processor',
    parent=root.LOG_PROCESSORS,
    scope='amd_mm',
    locations=_ENGINE,
)
VISUALIZERS = Registry(
    'visualizer', parent=root.VISUALIZERS, scope='amd_mm', locations=_ENGINE
)
VISBACKENDS = Registry(
    'vis_backend', parent=root.VISBACKENDS, scope='amd_mm', locations=_ENGINE
)
