"""Settings that are in force in a run, which a resumed checkpoint may have replaced."""

from typing import Any

from amd_mm.errors import CheckpointError
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

# State of a schedule that changes while it runs.
_PROGRESS = (
    *('base_values', 'last_step', 'verbose', 'best', 'cooldown_counter', 'num_bad_epochs'),
    *('min_values', 'rule_worse'),
)
# Those of a schedule by iteration that follow from the number of batches of an epoch.
_LENGTHS = ('begin', 'end', 'T_max', 'total_iters', 'step_size', 'milestones')
_OPEN = 10**9  # MMEngine's default end of a schedule


def optimizer_groups(runner: Runner) -> list[dict[str, Any]]:
    """The optimiser's groups with the values before any schedule; empty for several optimisers."""
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapper) or isinstance(wrapper, OptimWrapperDict):
        return []
    # The optimiser's own groups: those of the wrapper include the unscaled base_lr.
    return [
        {
            key: group.get(f'initial_{key}', value)
            for key, value in group.items()
            if not key.startswith('initial_')
        }
        for group in wrapper.optimizer.param_groups
    ]


def schedule(runner: Runner) -> list:
    """The schedulers; empty for several optimisers."""
    return runner.param_schedulers if isinstance(runner.param_schedulers, list) else []


def in_force(runner: Runner) -> dict[str, list]:
    """Config key -> values, of the optimiser (one for each group) and of the schedule."""
    found: dict[str, list] = {}
    for group in optimizer_groups(runner):
        for key, value in group.items():
            if key not in ('params', 'param_names'):
                found.setdefault(f'optim_wrapper.optimizer.{key}', []).append(value)
    for number, one in enumerate(schedule(runner)):
        for key, value in one.state_dict().items():
            if not key.startswith('_') and key not in _PROGRESS:
                found[f'param_scheduler.{number}.{key}'] = [value]
    return found


def differences(asked: dict[str, list], now: dict[str, list]) -> list[str]:
    """What was asked for and what is in force, where they differ."""
    lines = []
    for key in asked.keys() & now.keys():
        pair = next(((a, b) for a, b in zip(asked[key], now[key]) if a != b), None)
        if pair:
            lines.append(_difference(key, *pair))
    return sorted(lines)


def _difference(key: str, asked: Any, now: Any) -> str:
    return f'{key}: {asked} was asked for, {now} is in force'


def unused(runner: Runner) -> list[str]:
    """Values of the config's optimiser that no group of the optimiser has."""
    asked = (runner.cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    lines = []
    for key, value in asked.items():
        found = [group[key] for group in optimizer_groups(runner) if key in group]
        if found and value not in found:
            lines.append(_difference(f'optim_wrapper.optimizer.{key}', value, max(found)))
    return lines


def check_schedule(runner: Runner, checkpoint: dict) -> None:
    """Check that the states of a resumed schedule belong to the schedule of the config.

    Raises:
        CheckpointError: If not; MMEngine would give them to any scheduler, in their order.
    """
    states = checkpoint.get('param_schedulers') or []
    mine = [set(one.state_dict()) for one in schedule(runner)]
    if isinstance(states, list) and [set(one) for one in states] != mine:
        raise CheckpointError(
            f'{runner._load_from} has {len(states)} schedulers and param_scheduler {len(mine)}, or '
            'others. Resume with the same param_scheduler and train_cfg as before, or start from '
            f'the weights: --cfg-options load_from={runner._load_from}, without --resume'
        )


def follow_epoch_length(runner: Runner, checkpoint: dict) -> str | None:
    """Fit a checkpoint to resume to epochs that now have another number of batches.

    Another number of processes, another batch size or other data change that number. A schedule by
    iteration continues at the same part of an epoch, with its learning rate, and ends with the run.

    Args:
        runner: The runner, before it takes over the checkpoint.
        checkpoint: Changed in place.

    Returns:
        A sentence for the log, if the number of batches has changed.
    """
    count, hub = len(runner.train_dataloader), checkpoint.get('message_hub') or {}
    former = (hub.get('runtime_info') or {}).get('batches_per_epoch', count)
    groups = (checkpoint.get('optimizer') or {}).get('param_groups')
    if former == count or not groups or not isinstance(runner.train_loop, EpochBasedTrainLoop):
        return None
    for one, state in zip(schedule(runner), checkpoint.get('param_schedulers') or [], strict=True):
        if not one.by_epoch:
            done = round(state['_global_step'] * count / former)
            state.update({key: getattr(one, key) for key in _LENGTHS if key in state})
            state.update(
                _global_step=done, last_step=max(min(done, state['end'] - 1) - state['begin'], -1)
            )
    epoch = checkpoint['meta']['epoch']
    checkpoint['meta']['iter'] = epoch * count
    return (
        f'an epoch had {former} batches and has {count} now: epochs {epoch + 1} to '
        f'{runner.max_epochs} follow, iterations are counted in new batches, and the schedule '
        f'continues from the learning rate {max(group["lr"] for group in groups):.3e}'
    )


def schedule_end(runner: Runner) -> str | None:
    """A sentence if the schedule does not end with the run."""
    ends = []
    for one in schedule(runner):
        last = runner.max_epochs if one.by_epoch else runner.max_iters
        # Iterations are rounded.
        late = one.end >= _OPEN or abs(one.end - last) <= (not one.by_epoch)
        ends.append((1.0 if late else one.end / last, one, last))
    if not ends or max(share for share, _, _ in ends) == 1.0:
        return None
    _, one, last = max(ends, key=lambda end: end[0])
    unit = 'epoch' if one.by_epoch else 'iteration'
    return f'param_scheduler ends at {unit} {one.end}, and the run at {last}'


def describe_schedule(runner: Runner) -> str:
    """The schedulers and where they begin and end."""
    parts = []
    for one in schedule(runner):
        unit, last = ('epochs', runner.max_epochs) if one.by_epoch else ('steps', runner.max_iters)
        end = last if one.end >= _OPEN else one.end
        parts.append(f'{type(one).__name__} ({unit} {one.begin} to {end})')
    return ', '.join(parts)


def describe_optimizer(runner: Runner) -> str:
    """The optimiser, its values and the clipping of gradients."""
    groups = optimizer_groups(runner)
    parts = []
    for key in ('weight_decay', 'betas', 'momentum'):
        if key in groups[0]:
            top = max(group[key] for group in groups)
            some = sum(len(group['params']) for group in groups if group[key] == top)
            count = sum(len(group['params']) for group in groups)
            parts.append(f'{key} {top}' + (f' (for {some} of {count} tensors)' * (some < count)))
    for key, value in (getattr(runner.optim_wrapper, 'clip_grad_kwargs', None) or {}).items():
        parts.append(f'clip_grad.{key} {value}')
    return ', '.join([type(runner.optim_wrapper.optimizer).__name__, *parts])
