"""Registries of ``amd_mm``, children of MMEngine's.

MMEngine imports this module for a scoped name such as ``amd_mm.AMD``, and then the registry's
``locations``. So ``type='amd_mm.AMD'`` works from any scope and folder without ``custom_imports``.
"""

from collections.abc import Mapping
from typing import Any

from mmengine import registry as root
from mmengine.registry import Registry


def _child(parent: Registry, location: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='amd_mm', locations=[f'amd_mm.{location}'])


MODELS = _child(root.MODELS, 'models')
DATASETS = _child(root.DATASETS, 'datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'datasets.transforms')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'datasets')
FUNCTIONS = _child(root.FUNCTIONS, 'datasets')
HOOKS = _child(root.HOOKS, 'engine')
OPTIMIZERS = _child(root.OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
METRICS = _child(root.METRICS, 'evaluation')

# Empty: MMEngine warns without them if a config has ``default_scope = 'amd_mm'`` or inherits from
# ``amd_mm::...``.
RUNNERS = _child(root.RUNNERS, 'engine')
RUNNER_CONSTRUCTORS = _child(root.RUNNER_CONSTRUCTORS, 'engine')
LOOPS = _child(root.LOOPS, 'engine')
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS, 'engine')
WEIGHT_INITIALIZERS = _child(root.WEIGHT_INITIALIZERS, 'models')
TASK_UTILS = _child(root.TASK_UTILS, 'models')
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS, 'engine')
LOG_PROCESSORS = _child(root.LOG_PROCESSORS, 'engine')
EVALUATOR = _child(root.EVALUATOR, 'evaluation')
INFERENCERS = _child(root.INFERENCERS, 'evaluation')
VISUALIZERS = _child(root.VISUALIZERS, 'engine')
VISBACKENDS = _child(root.VISBACKENDS, 'engine')


def type_name(part: Mapping[str, Any]) -> str:
    """Name of the class that a dict of a config builds, without its scope; '' if it has none."""
    kind = part.get('type') or ''
    return (kind if isinstance(kind, str) else kind.__name__).rpartition('.')[2]
