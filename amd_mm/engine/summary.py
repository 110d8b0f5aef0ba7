"""The text that a run logs at its start: batch, optimiser, schedule, tokens, parameters."""

from collections.abc import Iterator
from typing import Any

from amd_mm.datasets.transforms import VideoInit
from mmcv.transforms import LoadImageFromFile
from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from . import settings


def summarise(runner: Runner) -> dict[str, str]:
    """Name -> value of each line of the summary, of a runner in ``before_train`` or later."""
    model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
    transforms = list(_transforms(runner.train_dataloader.dataset))
    images = any(isinstance(transform, LoadImageFromFile) for transform in transforms)
    lines = {'images per step' if images else 'clips per step': _batch(runner, transforms, images)}
    if groups := settings.optimizer_groups(runner):
        rates = [group['lr'] for group in groups]
        lowest = f', {min(rates):.3e} in the lowest group' if min(rates) < max(rates) else ''
        lines['learning rate'] = f'{max(rates):.3e} at its peak{lowest}'
        lines['optimiser'] = settings.describe_optimizer(runner)
    lines['schedule'] = settings.describe_schedule(runner) or 'none'
    if hasattr(model, 'token_counts'):
        counts = model.token_counts()
        tokens = f'{counts["total"]}: the student sees {counts["visible"]}'
        if getattr(model, 'teacher', None) is not None:
            tokens += f', the teacher {counts["visible"] + counts["teacher_only"]}'
        lines['tokens of an image' if images else 'tokens of a clip'] = tokens
    lines['parameters'] = _parameters(model)
    backend = next((one.backend for one in transforms if isinstance(one, VideoInit)), None)
    if backend:
        lines['video decoding'] = backend
    wrapper = runner.optim_wrapper
    lines['precision'] = getattr(wrapper, 'precision', type(wrapper).__name__)
    return lines


def _transforms(dataset: Any) -> Iterator[object]:
    """The pipeline of a dataset, also inside of wrappers such as RepeatDataset."""
    while not hasattr(dataset, 'pipeline') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return iter(getattr(getattr(dataset, 'pipeline', None), 'transforms', ()))


def _batch(runner: Runner, transforms: list, images: bool) -> str:
    loader = runner.train_dataloader
    size = loader.batch_size or loader.batch_sampler.batch_size
    # MMPretrain's MultiView has a list, and makes one sample of the views.
    views = [getattr(transform, 'num_views', None) for transform in transforms]
    count = next((one for one in views if isinstance(one, int)), 1)
    world = get_world_size()
    accumulated = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    return (
        f'{size * count * world * accumulated} = {size} {"images" if images else "videos"} x '
        f'{count} views x {world} processes x {accumulated} accumulated'
    )


def _parameters(model: Any) -> str:
    def millions(module: nn.Module, trained: bool = True) -> str:
        parameters = module.parameters()
        count = sum(one.numel() for one in parameters if one.requires_grad or not trained)
        return f'{count / 1e6:.1f} M' if count >= 1e5 else f'{count / 1e6:.3f} M'

    children = {name: millions(child) for name, child in model.named_children()}
    parts = ', '.join(f'{name} {size}' for name, size in children.items() if size != '0.000 M')
    text = f'{millions(model)} trained ({parts})'
    if getattr(model, 'teacher', None) is not None:
        text += f'; teacher {millions(model.teacher, False)} frozen, in no checkpoint'
    return text
