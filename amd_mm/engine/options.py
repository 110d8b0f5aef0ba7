"""Checks of ``--cfg-options``: a typo must not be a silent new entry."""

import argparse
import inspect
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from .sentences import LaunchError, parameters, unknown_key

# Top-level entries that the runner itself reads and that are plain values. Any
# other plain top-level value is a variable of the config file.
_RUNNER_VALUES = (
    'work_dir',
    'launcher',
    'load_from',
    'resume',
    'log_level',
    'default_scope',
    'experiment_name',
    'runner_type',
    'sync_bn',
    'find_unused_parameters',
    'compile',
)
# Read by MMEngine wherever they stand.
_ALWAYS = ('type', '_delete_', '_scope_', '_base_')
_CLOSE = 0.8


class KeyValues(DictAction):
    """MMEngine's ``key=value`` arguments, which say what they do not take."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Refuse what is no ``key=value``, then read."""
        for value in values or ():
            key, sign, _ = str(value).partition('=')
            if not sign or not key:
                parser.error(
                    f'{option_string} takes key=value, without spaces around '
                    f'the sign, and got {value!r}'
                )
        super().__call__(parser, namespace, values, option_string)


def check_options(cfg: Config, options: dict[str, object]) -> None:
    """See that overrides meet something.

    A key that is there may be changed; one that is not there must be an
    argument of the class that its dict builds, as far as that is known, or
    be unlike everything that is there.

    Args:
        cfg (Config): Before the overrides.
        options (Dict[str, object]): Dotted key to value.

    Raises:
        LaunchError: If a key is a variable of the config, which nothing reads
            any more, or seems to be mistyped.
    """
    for key in options:
        _reject_variable(cfg, key)
        _check_key(cfg, key)


def _reject_variable(cfg: Config, key: str) -> None:
    if key not in cfg or key in _RUNNER_VALUES:
        return
    if isinstance(cfg[key], (int, float, str)):
        raise LaunchError(
            f'--cfg-options {key}=...: `{key}` is a variable of the '
            'config file, used while the file is read; changing it '
            'afterwards changes nothing. Set the entry that is made from '
            'it, e.g. train_dataloader.batch_size for clips_per_gpu (it '
            'counts videos), model.teacher.checkpoint for '
            'teacher_checkpoint, or derive a config of your own'
        )


def _check_key(cfg: Config, key: str) -> None:
    node: Any = cfg
    parts = key.split('.')
    for depth, name in enumerate(parts):
        here = '.'.join(parts[:depth])
        if isinstance(node, (list, tuple)):
            if not (name.isdigit() and int(name) < len(node)):
                raise LaunchError(
                    f'--cfg-options {key}=...: {here} is a list of '
                    f'{len(node)}, so a number from 0 to {len(node) - 1} '
                    f'has to follow, not {name!r}'
                )
            node = node[int(name)]
        elif not isinstance(node, (dict, Config)):
            raise LaunchError(
                f'--cfg-options {key}=...: {here} is {node!r}, which has '
                f'nothing below it; set {here} as a whole, or derive a '
                'config of your own'
            )
        elif name in node:
            node = node[name]
        else:
            _check_new(node, name, key, here)
            return


def _check_new(node: Any, name: str, key: str, here: str) -> None:
    """A key that is not there, of a dict that is."""
    if name in _ALWAYS:
        return
    present = [one for one in node if not one.startswith('_')]
    taken, all_known = _taken_by(node, here)
    if name in taken:
        return
    known = [*present, *taken]
    if all_known or get_close_matches(name, known, n=1, cutoff=_CLOSE):
        place = f' in {here}' if here else ''
        raise LaunchError(f'--cfg-options {key}=...:{place} {unknown_key(name, known)}')


def _taken_by(node: Any, here: str) -> tuple[list[str], bool]:
    """Arguments of what a dict builds, and whether these are all."""
    if not here:
        return list(inspect.signature(Runner.__init__).parameters), False
    if here.endswith('_dataloader'):
        return list(inspect.signature(DataLoader).parameters), False
    name = node.get('type')
    if not isinstance(name, str) or not name.startswith('amd_mm.'):
        return [], False
    built = _look_up(name.removeprefix('amd_mm.'))
    if built is None:
        return [], False
    found = parameters(built)
    loose = any(one.kind is one.VAR_KEYWORD for one in found.values())
    return list(found), not loose


def _look_up(name: str) -> type | None:
    from amd_mm import registry

    for one in _registries(vars(registry).values()):
        one.import_from_location()
        if name in one.module_dict:
            return one.module_dict[name]
    return None


def _registries(values: Iterable[object]) -> list[Registry]:
    return [one for one in values if isinstance(one, Registry) and one.scope == 'amd_mm']
