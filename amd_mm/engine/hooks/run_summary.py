from collections.abc import Iterator
from typing import Any

from amd_mm.registry import HOOKS
from mmcv.transforms import LoadImageFromFile
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper, _ParamScheduler
from mmengine.runner import Runner
from torch import nn

# Decoders of stock pipelines, by the transform that opens the video.
_STOCK_BACKENDS = {
    'DecordInit': 'decord',
    'PyAVInit': 'pyav',
    'OpenCVInit': 'opencv',
    'PIMSInit': 'pims',
    'RawFrameDecode': 'raw frames',
}


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Prints once, before training, what the run amounts to.

    Clips or images of an optimiser step over all processes, the learning
    rates that result, the tokens student and teacher see, parameters, what
    decodes the videos, and precision: what people get wrong when they change
    the number of GPUs, and what they are asked for when they report a problem.
    """

    # After everything else has set itself up.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Log the summary."""
        lines = summary_lines(runner)
        width = max(len(name) for name in lines)
        text = '\n'.join(f'  {name:<{width}}  {value}' for name, value in lines.items())
        runner.logger.info(f'This run:\n{text}')


def summary_lines(runner: Runner) -> dict[str, str]:
    """The summary of a run whose training loop is built.

    Args:
        runner (Runner): The runner, in ``before_train`` or later.

    Returns:
        Dict[str, str]: What, in a few words, to its value.
    """
    model = runner.model
    model = model.module if is_model_wrapper(model) else model
    dataset = runner.train_dataloader.dataset
    images = _loads_images(dataset)
    one = 'image' if images else 'clip'
    lines = {
        f'{one}s per step': _samples(runner, 'images' if images else 'videos'),
        'learning rate': _learning_rate(runner),
        f'tokens of {"an" if images else "a"} {one}': _tokens(model),
        'parameters': _parameters(model),
        'video decoding': None if images else _decoding(dataset),
        'precision': _precision(runner.optim_wrapper),
        'fused attention': _fused_attention(model),
    }
    return {name: value for name, value in lines.items() if value}


def _samples(runner: Runner, files: str) -> str:
    loader = runner.train_dataloader
    count = loader.batch_size or loader.batch_sampler.batch_size
    views = _views(loader.dataset)
    world = get_world_size()
    counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    return (
        f'{count * views * world * counts} = {count} {files} x {views} '
        f'views x {world} processes x {counts} accumulated'
    )


def _transforms(dataset: object) -> Iterator[object]:
    """The pipeline of a dataset, through wrappers such as RepeatDataset."""
    while not hasattr(dataset, 'pipeline') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    pipeline = getattr(dataset, 'pipeline', None)
    return iter(getattr(pipeline, 'transforms', ()))


def _loads_images(dataset: object) -> bool:
    return any(isinstance(transform, LoadImageFromFile) for transform in _transforms(dataset))


def _views(dataset: Any) -> int:
    for transform in _transforms(dataset):
        # MMPretrain's MultiView, which has a list, makes one sample of them.
        views = getattr(transform, 'num_views', None)
        if isinstance(views, int):
            return views
    return 1


def _decoding(dataset: object) -> str | None:
    for transform in _transforms(dataset):
        if hasattr(transform, 'backend'):  # amd_mm.VideoInit
            return transform.backend
        for cls in type(transform).__mro__:
            if cls.__name__ in _STOCK_BACKENDS:
                return _STOCK_BACKENDS[cls.__name__]
    return None


def _learning_rate(runner: Runner) -> str:
    if not isinstance(runner.optim_wrapper, OptimWrapper):
        return 'of several optimisers'
    groups = runner.optim_wrapper.param_groups
    peak = max(group.get('initial_lr', group['lr']) for group in groups)
    schedulers = runner.param_schedulers
    if not isinstance(schedulers, list) or not schedulers:
        return f'{peak:.3e}, constant'
    steps = [_describe(scheduler, peak) for scheduler in schedulers]
    return f'{peak:.3e} at its peak; ' + ', then '.join(steps)


def _describe(scheduler: _ParamScheduler, peak: float) -> str:
    unit = 'epoch' if scheduler.by_epoch else 'iteration'
    last = min(scheduler.end, 10**12)
    span = f'({unit}s {scheduler.begin} to {last})'
    if isinstance(scheduler, LinearLR):
        return (
            f'linear from {peak * scheduler.start_factor:.1e} to '
            f'{peak * scheduler.end_factor:.1e} {span}'
        )
    if isinstance(scheduler, CosineAnnealingLR):
        final = scheduler.eta_min
        if scheduler.eta_min_ratio is not None:
            final = peak * scheduler.eta_min_ratio
        return f'cosine to {final:.1e} {span}'
    return f'{type(scheduler).__name__} {span}'


def _tokens(model: Any) -> str | None:
    if not hasattr(model, 'token_counts'):
        return None
    counts = model.token_counts()
    text = f'{counts["total"]}: the student sees {counts["visible"]}'
    if getattr(model, 'teacher', None) is not None:
        text += f', the teacher {counts["visible"] + counts["teacher_only"]}'
    return text


def _parameters(model: nn.Module) -> str:
    parts: list[str] = []
    for name, child in model.named_children():
        count = _count(child)
        if count:
            parts.append(f'{name} {_millions(count)}')
    text = f'{_millions(_count(model))} trained ({", ".join(parts)})'
    teacher = getattr(model, 'teacher', None)
    if teacher is not None:
        count = sum(p.numel() for p in teacher.parameters())
        text += f'; teacher {_millions(count)} frozen, in no checkpoint'
    return text


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _millions(count: int) -> str:
    return f'{count / 1e6:.1f} M' if count >= 1e5 else f'{count / 1e6:.3f} M'


def _precision(wrapper: object) -> str:
    precision = getattr(wrapper, 'precision', None)
    if precision is not None:
        return precision
    if type(wrapper).__name__ == 'AmpOptimWrapper':
        return f'AMP, {getattr(wrapper, "cast_dtype", None) or "float16"}'
    return 'fp32'


def _fused_attention(model: nn.Module) -> str | None:
    from amd_mm.models.utils.blocks import FusedAttention
    from mmaction.models.backbones.vit_mae import Attention

    fused = {
        isinstance(module, FusedAttention)
        for module in model.modules()
        if isinstance(module, Attention)
    }
    if not fused:
        return None
    return 'partly on' if len(fused) > 1 else 'on' if fused.pop() else 'off'
