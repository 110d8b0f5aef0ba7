"""Keys of ``--cfg-options`` that have no effect are refused."""

import difflib
import inspect
import re
from typing import Any

from amd_mm import registry
from amd_mm.errors import ConfigError
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

# Plain top-level values that MMEngine's runner reads. Others are variables of the config file.
_RUNNER_VALUES = (
    *('compile', 'default_scope', 'experiment_name', 'find_unused_parameters', 'launcher'),
    *('load_from', 'log_level', 'resume', 'runner_type', 'sync_bn', 'work_dir'),
)


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


def similar_type(message: str) -> str:
    """A hint at the type of ours that is similar to the one that MMEngine does not know, or ''."""
    found = re.search(r'([\w.]+) is not in the \w+::([\w ]+) registry', message)
    if not found:
        return ''
    wanted, kind = found[1].rpartition('.')[2], found[2]
    names = [
        name
        for one in vars(registry).values()
        if isinstance(one, Registry) and one.name == kind
        for name in one.module_dict
    ]
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.8)
    return f"; did you mean type='amd_mm.{close[0]}'?" if close else ''
