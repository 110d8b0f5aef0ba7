"""Pictures of a training config before the run: its clips, its masks and its learning rate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner, set_random_seed
from torch import Tensor

from ..apis import normalisation_of
from ..errors import ConfigError
from ..registry import MODELS
from .plots import save_figure, styled
from .reconstruction import Views, masked_views

# -- clips -------------------------------------------------------------------------------------


class Samples(NamedTuple):
    """Clips of the training loader: (B, C, T, H, W), RGB in [0, 1], and a name for each."""

    clips: Tensor
    names: list[str]


def training_samples(cfg: Config, count: int, seed: int = 0) -> Samples:
    """The first clips that a model gets, after its data preprocessor, un-normalised.

    Args:
        cfg: with ``train_dataloader`` and ``model``. Videos are decoded in this process.
        count: how many clips; fewer if the training set has fewer.
        seed: of the order and of the augmentation.
    """
    loader_cfg = dict(
        cfg.train_dataloader, num_workers=0, persistent_workers=False, pin_memory=False
    )
    loader_cfg.pop('prefetch_factor', None)
    loader_cfg['batch_size'] = min(loader_cfg['batch_size'], count)
    normalised = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
    preprocess = MODELS.build(normalised or dict(type='mmengine.BaseDataPreprocessor'))
    set_random_seed(seed)  # of Python, NumPy and torch: augmentations use all three
    found: list[Tensor] = []
    names: list[str] = []
    for batch in Runner.build_dataloader(loader_cfg, seed=seed):
        given = preprocess(batch, training=True)
        clips = _as_clips(given['inputs'])
        samples = given.get('data_samples') or [None]
        found.append(clips)
        for at in range(len(clips)):  # several clips of a sample follow each other
            names.append(_name_of(samples[at * len(samples) // len(clips)], len(names) + 1))
        if len(names) >= count:
            break
    if not found:
        raise ConfigError(f'{cfg.filename}: train_dataloader gives no batch; add data')
    clips = torch.cat(found)[:count].float()
    look = normalisation_of(
        dict(cfg.model, data_preprocessor=normalised), images=clips.shape[2] == 1
    )
    mean, std = (torch.tensor(look[key]).view(1, -1, 1, 1, 1) for key in ('mean', 'std'))
    if look['bgr']:
        clips = clips.flip(1)
    return Samples((clips * std + mean) / 255, names[:count])


def _as_clips(inputs: Any) -> Tensor:
    """Clips (B, C, T, H, W) of a batch; an image is a clip of one frame."""
    if not isinstance(inputs, Tensor):  # views of images
        inputs = torch.stack(list(inputs), 1).flatten(0, 1)
    if inputs.ndim == 4:
        return inputs[:, :, None]
    return inputs.flatten(0, 1) if inputs.ndim == 6 else inputs


def _name_of(sample: Any, number: int) -> str:
    name = f'clip {number}'
    label = getattr(sample, 'gt_label', None)
    if label is None or bool((label < 0).any()):  # a video without label has -1
        return name
    if label.is_floating_point():  # one share for each class, as Mixup leaves it
        shares = [(float(label[at]), at) for at in label.argsort(descending=True).tolist()]
        texts = [f'{at} ({100 * share:.0f} %)' for share, at in shares if share >= 0.01]
    else:
        texts = [str(one) for one in label.flatten().tolist()]
    return f'{name}, label {", ".join(texts)}'


def training_views(cfg: Config, clips: Tensor) -> Views:
    """The clips; for a config with masks also what student and teacher see of them."""
    masks = cfg.model.get('mask_generator')
    if not masks:
        return {'clip' if clips.shape[2] > 1 else 'image': clips}
    backbone = MODELS.build(cfg.model.backbone)
    partition = MODELS.build(masks)(len(clips), backbone.token_grid, 'cpu')
    return masked_views(clips, partition, backbone.patch_shape)


# -- learning rate -----------------------------------------------------------------------------


def learning_rates(cfg: Config, epoch_length: int) -> list[float]:
    """The learning rate in each iteration of a run, without factors of single layers.

    Args:
        cfg: with ``optim_wrapper``, ``train_cfg`` and perhaps ``param_scheduler``.
        epoch_length: iterations of an epoch.
    """
    settings = cfg.optim_wrapper.optimizer
    optimizer = torch.optim.SGD(
        [torch.zeros(1, requires_grad=True)],
        lr=settings.lr,
        momentum=0.9,
        weight_decay=settings.get('weight_decay', 0.0),
    )
    epochs, total = cfg.train_cfg.get('max_epochs'), cfg.train_cfg.get('max_iters')
    total = total or epochs * epoch_length
    asked = cfg.get('param_scheduler') or []
    schedulers = [
        _build_scheduler(dict(one), optimizer, epochs, total, epoch_length)
        for one in ([asked] if isinstance(asked, Mapping) else asked)
    ]
    found = []
    for step in range(1, total + 1):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for one in schedulers:
            if not one.by_epoch or step % epoch_length == 0:
                one.step()
    return found


def _build_scheduler(
    cfg: dict, optimizer: torch.optim.Optimizer, epochs: int | None, total: int, length: int
) -> Any:
    """Build a scheduler as MMEngine's runner does, which needs a model."""
    cfg.setdefault('end', epochs if cfg.get('by_epoch', True) else total)
    kind = PARAM_SCHEDULERS.get(cfg.pop('type'))
    if cfg.pop('convert_to_iter_based', False):
        return kind.build_iter_from_epoch(optimizer=optimizer, epoch_length=length, **cfg)
    return kind(optimizer=optimizer, **cfg)


@styled
def draw_learning_rate(rates: list[float], epoch_length: int, path: str | Path, title: str) -> Path:
    """Draw the learning rate by iteration; the upper axis counts epochs."""
    figure = Figure(figsize=(6, 3.4))
    axes = figure.subplots()
    axes.plot(range(1, len(rates) + 1), rates)
    axes.set(xlabel='iteration', ylabel='learning rate', ylim=(0, None))

    def epochs(step: Any) -> Any:
        return step / epoch_length

    def steps(epoch: Any) -> Any:
        return epoch * epoch_length

    above = axes.secondary_xaxis('top', (epochs, steps))
    above.set_xlabel('epoch')
    figure.suptitle(title)
    return save_figure(figure, path)
