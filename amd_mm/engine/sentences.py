"""From an exception to one sentence that says what to change.

A mistake in a config, a list file or a command is not a mistake in the
program, and a traceback through the program does not help who made it. What
is recognised here ends a tool with its message alone; everything else keeps
its traceback, and so does everything where the environment variable
``AMD_MM_TRACEBACK`` is set.
"""

import dis
import errno
import importlib.util
import inspect
import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import amd_mm
import torch
from mmengine.config import Config
from mmengine.registry import Registry

TRACEBACK = 'AMD_MM_TRACEBACK'
_OURS = str(Path(amd_mm.__file__).parent) + os.sep
# Whose constructors check their arguments with sentences of some use.
_CHECKING = ('amd_mm', 'mmengine', 'mmcv', 'mmaction', 'mmpretrain', 'mmdet', 'torch')
_LONGEST = 400
_NAMED_ONCE = re.compile(r"'?([\w.]+)'? is not in the (\S+) registry")
_ARGUMENT = re.compile(r'(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument .(\w+).')
_MISSING = re.compile(r'(\w+)(?:\.__init__)?\(\) missing \d+ required [\w-]+ arguments?: (.+)')


class LaunchError(Exception):
    """Something that the user has to change before the run can start."""


def explain(error: BaseException, cfg: Config | None = None) -> str | None:
    """What the user has to change, if it is for them to change something.

    Args:
        error (BaseException): What ended the run.
        cfg (Config, optional): Of the run, to name the key.

    Returns:
        str, optional: A sentence; None for what may be a mistake of the
        program and needs its traceback.
    """
    if os.environ.get(TRACEBACK):
        return None
    for look in (_worker, _machine, _unknown_type, _arguments, _meant):
        text = look(error, cfg)
        if text is not None:
            return text
    return None


def _meant(error: BaseException, cfg: Config | None) -> str | None:
    """What our code, or a constructor in a config, raises on purpose."""
    last = _last(error.__traceback__)
    if last is None or not _is_raised_here(last):
        return None
    text = _text(error)
    built = _innermost_build(error)
    if built is None:
        return text if last.tb_frame.f_code.co_filename.startswith(_OURS) else None
    module = last.tb_frame.f_globals.get('__name__') or ''
    if not text or module.partition('.')[0] not in _CHECKING:
        return None
    return f'{_place(built, cfg)}: {_shorter(text)}'


def _text(error: BaseException) -> str:
    # str() of a KeyError has quotation marks around it.
    only = isinstance(error, KeyError) and len(error.args) == 1
    return str(error.args[0] if only else error)


def _shorter(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + ' ...'


def _links(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _last(trace: TracebackType | None) -> TracebackType | None:
    return next(iter(list(_links(trace))[::-1]), None)


def _is_raised_here(link: TracebackType) -> bool:
    """Whether a ``raise`` or ``assert`` of this frame made the error."""
    code = link.tb_frame.f_code.co_code
    return dis.opname[code[link.tb_lasti]] == 'RAISE_VARARGS'


def _innermost_build(error: BaseException) -> FrameType | None:
    """The frame in which MMEngine built what a config names."""
    found = None
    for link in _links(error.__traceback__):
        if link.tb_frame.f_code.co_name == 'build_from_cfg':
            found = link.tb_frame
    return found


def built_from(error: BaseException) -> str | None:
    """The checkpoint of what MMEngine was building when it went wrong.

    Args:
        error (BaseException): What went wrong.

    Returns:
        str, optional: A path or address.
    """
    build = _innermost_build(error)
    part = build.f_locals.get('cfg') if build else None
    path = part.get('checkpoint') if isinstance(part, dict) else None
    return path if isinstance(path, str) else None


def _place(build: FrameType, cfg: Config | None) -> str:
    """The key of what was built, or at least its type."""
    part = build.f_locals.get('cfg') or {}
    name = part.get('type', '')
    name = name if isinstance(name, str) else getattr(name, '__name__', '')
    if cfg is None:
        return name
    places = [
        key
        for key, node in _typed_parts(cfg, '')
        if _same_type(node['type'], name)
        and all(part.get(k) == v for k, v in node.items() if k != 'type')
    ]
    return f'{places[0]} ({name})' if len(places) == 1 else name


def _same_type(one: Any, other: str) -> bool:
    return isinstance(one, str) and one == other


def _typed_parts(part: Any, key: str) -> Iterator[tuple[str, dict]]:
    """(key, dict) of everything in a config that is to be built."""
    if isinstance(part, (dict, Config)):
        if key and 'type' in part:
            yield key, dict(part)
        for name, value in part.items():
            # At the top, what the runner does not read is a variable.
            yield from _typed_parts(value, f'{key}.{name}' if key else name)
    elif isinstance(part, (list, tuple)):
        for index, value in enumerate(part):
            yield from _typed_parts(value, f'{key}.{index}')


# --------------------------------------------------------------- one by one


def _worker(error: BaseException, cfg: Config | None) -> str | None:
    """An error of ours out of a process of the data loader."""
    text = str(error)
    if 'Original Traceback' not in text:
        return None
    frames = list(re.finditer(r'^ +File "(.+)", line \d+, in .*\n +(.*)$', text, re.M))
    if not frames:
        return None
    place, line = frames[-1].groups()
    if not (place.startswith(_OURS) and line.startswith('raise')):
        return None
    after = re.search(r'^[A-Za-z_][\w.]*: ', text[frames[-1].end() :], re.M)
    if after is None:
        return None
    return text[frames[-1].end() + after.end() :].strip()


def _machine(error: BaseException, cfg: Config | None) -> str | None:
    """Full disks, full memory, taken ports."""
    text = str(error)
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return (
            'the memory of the GPU is full '
            f'({text.partition(". ")[0]}). Take fewer videos at a time and '
            'accumulate: --cfg-options train_dataloader.batch_size=HALF '
            'optim_wrapper.accumulative_counts=2 (the same step), or '
            'test_dataloader.batch_size=1 for testing'
        )
    if 'EADDRINUSE' in text or 'address already in use' in text.lower():
        port = os.environ.get('MASTER_PORT', '29500')
        return (
            f'port {port} is in use, by another run on this machine perhaps: '
            f'give this one another, PORT={_other(port)} bash '
            f'tools/dist_train.sh ..., or MASTER_PORT={_other(port)} with '
            'another launcher'
        )
    if isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
    ):
        where = f' {error.filename}' if error.filename else ''
        return (
            f'cannot write{where}: {error.strerror}. Make room or give '
            'another folder with --work-dir'
        )
    return None


def _other(port: str) -> int:
    return int(port) + 1 if port.isdigit() and int(port) < 65535 else 29501


def _unknown_type(error: BaseException, cfg: Config | None) -> str | None:
    found = _NAMED_ONCE.search(_text(error))
    if not isinstance(error, KeyError) or found is None:
        return None
    name = found.group(1)
    keys = [
        f'{key}.type' for key, node in _typed_parts(cfg or {}, '') if _same_type(node['type'], name)
    ]
    place = f'{keys[0]} = {name!r}' if keys else f'type {name!r}'
    scope, dot, short = name.rpartition('.')
    if dot and importlib.util.find_spec(scope.partition('.')[0]) is None:
        return (
            f'{place}: there is no package `{scope}` here. Install it, or '
            'correct the name before the dot'
        )
    names = _registered(error)
    # As it stands, and with the scope left out or wrong.
    close = get_close_matches(name, names, n=1, cutoff=0.7) or [
        one for one in names if one.rpartition('.')[2] == short
    ]
    hint = (
        f'did you mean {close[0]!r}?'
        if close
        else 'correct the name; for a class of your own, see that the file '
        'that registers it is named in custom_imports'
    )
    return f'{place}: nothing of that name is registered; {hint}'


def _registered(error: BaseException) -> list[str]:
    """Names, with their scopes, in the registry that was searched."""
    build = _innermost_build(error)
    registry = build.f_locals.get('registry') if build else None
    if not isinstance(registry, Registry):
        return []
    while registry.parent is not None:
        registry = registry.parent
    names = [f'{registry.scope}.{one}' for one in registry.module_dict]
    for scope, child in registry.children.items():
        names += [f'{scope}.{one}' for one in child.module_dict]
    return sorted(names)


def _arguments(error: BaseException, cfg: Config | None) -> str | None:
    """Keys that a class does not take, or that it needs."""
    build = _innermost_build(error)
    last = _last(error.__traceback__)
    if not isinstance(error, TypeError) or build is None or last is None:
        return None
    # Of the class itself, not of something that it called.
    if last.tb_frame is not build:
        return None
    place = _place(build, cfg)
    known = parameters(build.f_locals.get('obj_cls'))
    found = _ARGUMENT.search(str(error))
    if found:
        return f'{place}: {unknown_key(found.group(2), known)}'
    found = _MISSING.search(str(error))
    if found:
        return f'{place}: give it {found.group(2)}'
    return None


def parameters(built: Any) -> dict[str, inspect.Parameter]:
    """What a class or function of a config takes; empty if unknown.

    Args:
        built (object): The class or function.

    Returns:
        Dict[str, Parameter]: By name, without ``self``.
    """
    try:
        return dict(inspect.signature(built).parameters)
    except (TypeError, ValueError):
        return {}


def unknown_key(key: str, known: Any) -> str:
    """Say that there is no such key, and which one may be meant.

    Args:
        key (str): As the user wrote it.
        known (Iterable[str]): What there is.

    Returns:
        str: A sentence without its full stop.
    """
    known = [one for one in known if not one.startswith('_')]
    close = get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f'there is no key {key!r}; did you mean {close[0]!r}?'
    listed = ', '.join(sorted(known)) or 'nothing that is known here'
    return f'there is no key {key!r}; it takes {listed}'
