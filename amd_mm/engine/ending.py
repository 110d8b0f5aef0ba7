"""How the tools end when something goes wrong."""

import os
import os.path as osp
import sys
import time
import traceback

from amd_mm.checkpoints import CheckpointError, CheckpointMismatchError, read_checkpoint
from amd_mm.errors import VideoError
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.runner import Runner

from .sentences import TRACEBACK, LaunchError, built_from, explain

# Their messages say what is wrong with which file and what to do: the tools
# end with that sentence, without a traceback.
USER_ERRORS = (LaunchError, CheckpointError, VideoError)
_SHOWN = 3  # tensors of another shape
_TO_SPEAK = 3.0  # seconds for the first process


def sentence(
    error: BaseException, cfg: Config | None = None, runner: Runner | None = None
) -> str | None:
    """What to tell the user about what ended a run.

    Args:
        error (BaseException): What ended it.
        cfg (Config, optional): If it was read.
        runner (Runner, optional): If it was built.

    Returns:
        str, optional: A sentence, or None if it needs its traceback.
    """
    if isinstance(error, CheckpointError) and not os.environ.get(TRACEBACK):
        return _of_checkpoint(error, runner)
    if isinstance(error, USER_ERRORS):
        return None if os.environ.get(TRACEBACK) else str(error)
    return explain(error, cfg) or _unread(error, runner)


def _of_checkpoint(error: CheckpointError, runner: Runner | None) -> str:
    """Its text, with the file's name, and without names by the dozen."""
    text = str(error)
    path = built_from(error) or getattr(runner, '_load_from', None)
    if path and path not in text:
        text = f'{path}: {text}'
    lines = text.splitlines()
    shapes = [line for line in lines if line.startswith('  ')]
    if isinstance(error, CheckpointMismatchError) and len(shapes) > _SHOWN:
        lines = [line for line in lines if line not in shapes[_SHOWN:]]
        place = lines.index(shapes[_SHOWN - 1]) + 1
        lines.insert(place, f'  and {len(shapes) - _SHOWN} more')
    return '\n'.join(lines)


def _unread(error: BaseException, runner: Runner | None) -> str | None:
    """What is wrong with a checkpoint that MMEngine has failed to read."""
    path = getattr(runner, '_load_from', None)
    within = {one.name for one in traceback.extract_tb(error.__traceback__)}
    if path is None or 'load_or_resume' not in within:
        return None
    if not osp.exists(path) or os.environ.get(TRACEBACK):
        return None
    try:
        content = read_checkpoint(path)
    except CheckpointError as reason:
        return str(reason)
    if 'resume' in within and not {'meta', 'optimizer'} <= set(content):
        return (
            f'{path} holds weights and not the state of a run, so there is '
            'nothing to go on with. Start from its weights: '
            f'--cfg-options load_from={path}, without --resume'
        )
    if 'resume' in within and 'param group' in str(error):
        return (
            f'{path} is of a run with another optimizer ({error}). Resume '
            'with the config of that run, or start from its weights: '
            f'--cfg-options load_from={path}, without --resume'
        )
    return None


def leave(
    tool: str, error: BaseException, cfg: Config | None = None, runner: Runner | None = None
) -> None:
    """End with a sentence if there is one; else return.

    What goes wrong before the runner is built does so in all processes, and
    the first one says it. Later each may have a trouble of its own.

    Args:
        tool (str): Its name, before the sentence.
        error (BaseException): See :func:`sentence`.
        cfg (Config, optional): See :func:`sentence`.
        runner (Runner, optional): See :func:`sentence`.

    Raises:
        SystemExit: With the sentence, or 1.
    """
    text = sentence(error, cfg, runner)
    if text is None:
        return
    first = os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'
    if runner is None and not first:
        # A launcher ends all processes when one has ended.
        time.sleep(_TO_SPEAK)
        sys.exit(1)
    if get_world_size() > 1 and runner is not None:
        tool = f'{tool} (process {get_rank()})'
    sys.exit(f'{tool}: {text}')
