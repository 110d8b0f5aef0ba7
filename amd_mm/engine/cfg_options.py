"""``--cfg-options``: reading ``key=value``, and refusing keys that have no effect."""

import argparse
import difflib
import inspect
import os
from collections.abc import Sequence
from typing import Any

from amd_mm import registry
from amd_mm.errors import ConfigError
from mmengine.config import Config, DictAction
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

# Plain top-level values that MMEngine's runner reads. Others are variables of the config file.
_RUNNER_VALUES = (
    *('compile', 'default_scope', 'experiment_name', 'find_unused_parameters', 'launcher'),
    *('load_from', 'log_level', 'resume', 'runner_type', 'sync_bn', 'work_dir'),
)


class KeyValues(DictAction):
    """MMEngine's ``key=value`` arguments; anything else is a usage error.

    A value with commas is a list, unless it is in quotation marks or names a file or folder.
    """

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        """Read a value. MMEngine's reader splits paths at commas and removes their blanks."""
        text = val.strip('\'"')
        if not set(text) & set(',()[]'):
            return DictAction._parse_int_float_bool(text)
        quoted = len(text) == len(val) - 2 and not set(text) & set('\'"([')
        return text if quoted or os.path.exists(text) else DictAction._parse_iterable(val)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Read the arguments."""
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, ValueError):  # no "=", open brackets
            parser.error(f'{option_string} takes key=value without blanks, not {values}')


def check_options(cfg: Config, options: dict[str, object]) -> None:
    """Check that overrides have an effect: the key exists, or the class of its dict takes it.

    Args:
        cfg: Before the overrides.
        options: Dotted key -> value.

    Raises:
        ConfigError: If a key is a variable of the config file, or seems to be mistyped.
    """
    for key in options:
        if isinstance(cfg.get(key), (int, float, str)) and key not in _RUNNER_VALUES:
            raise ConfigError(
                f'--cfg-options {key}: `{key}` is a variable of the config file, and changing it '
                'after the file was read has no effect. Set the entry that is made of it'
            )
        node: Any = cfg
        path = key.split('.')
        for depth, name in enumerate(path):
            here = '.'.join(path[:depth]) or 'the config'
            if isinstance(node, (list, tuple)):
                if not name.isdigit() or int(name) >= len(node):
                    raise ConfigError(
                        f'--cfg-options {key}: {here} is a list of {len(node)}, counted from 0'
                    )
                node = node[int(name)]
            elif not isinstance(node, (dict, Config)):
                raise ConfigError(
                    f'--cfg-options {key}: {here} is {node!r} and has no entries; set {here} itself'
                )
            elif name in node:
                node = node[name]
            else:
                _check_new_key(node, name, here, key)
                break


def _check_new_key(node: Any, name: str, here: str, key: str) -> None:
    built = Runner if here == 'the config' else DataLoader if here.endswith('_dataloader') else None
    strict = False
    if str(node.get('type')).startswith('amd_mm.'):
        built = built or _our_class(node['type'].removeprefix('amd_mm.'))
        strict = built is not None
    parameters = inspect.signature(built).parameters if built else {}
    strict &= not any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    known = {*parameters, *(one for one in node if not one.startswith('_')), 'type', '_delete_'}
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6 if strict else 0.8)
    if name not in known and (close or strict):
        hint = f'did you mean {close[0]!r}?' if close else f'it takes {", ".join(sorted(known))}'
        raise ConfigError(f'--cfg-options {key}: {here} has no key {name!r}; {hint}')


def _our_class(name: str) -> type | None:
    for one in vars(registry).values():
        if isinstance(one, Registry):
            one.import_from_location()
            if name in one.module_dict:
                return one.module_dict[name]
    return None
