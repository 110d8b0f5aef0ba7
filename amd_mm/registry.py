"""The registries of ``amd_mm``: children of MMEngine's roots.

A scoped name such as ``amd_mm.AMD`` makes MMEngine import this module, whose
``locations`` import what the name stands for. So ``type='amd_mm.AMD'`` works
from any ``default_scope`` and any folder, without ``custom_imports``.
"""

from mmengine import registry as root
from mmengine.registry import Registry

_MODELS = 'amd_mm.models'
_DATASETS = 'amd_mm.datasets'
_ENGINE = 'amd_mm.engine'
_EVALUATION = 'amd_mm.evaluation'


def _child(parent: Registry, location: str) -> Registry:
    """Our registry below one of MMEngine's; ``location`` fills it."""
    return Registry(parent.name, parent=parent, scope='amd_mm', locations=[location])


MODELS = _child(root.MODELS, _MODELS)
DATASETS = _child(root.DATASETS, _DATASETS)
TRANSFORMS = _child(root.TRANSFORMS, 'amd_mm.datasets.transforms')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, _DATASETS)
FUNCTIONS = _child(root.FUNCTIONS, _DATASETS)
HOOKS = _child(root.HOOKS, _ENGINE)
OPTIMIZERS = _child(root.OPTIMIZERS, _ENGINE)
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, _ENGINE)
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, _ENGINE)
METRICS = _child(root.METRICS, _EVALUATION)

# Nothing of ours is registered in these. They are here because MMEngine looks
# for a registry of the scope when a config derives from one of this package
# (``_base_ = 'amd_mm::...'``) or has ``default_scope = 'amd_mm'``, and warns
# where there is none.
RUNNERS = _child(root.RUNNERS, _ENGINE)
RUNNER_CONSTRUCTORS = _child(root.RUNNER_CONSTRUCTORS, _ENGINE)
LOOPS = _child(root.LOOPS, _ENGINE)
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS, _ENGINE)
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS, _MODELS)
TASK_UTILS = _child(root.TASK_UTILS, _MODELS)
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS, _ENGINE)
LOG_PROCESSORS = _child(root.LOG_PROCESSORS, _ENGINE)
EVALUATOR = _child(root.EVALUATOR, _EVALUATION)
INFERENCERS = _child(root.INFERENCERS, _EVALUATION)
VISUALIZERS = _child(root.VISUALIZERS, _ENGINE)
VISBACKENDS = _child(root.VISBACKENDS, _ENGINE)
