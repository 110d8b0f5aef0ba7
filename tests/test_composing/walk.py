"""Train with many configs in one process, each through ``tools/train.py``.

Run it with the Python of an environment that has the wheel, in a foreign folder. Arguments: a
JSON file ``{config: [options]}`` and a file of tests for pytest. The last printed line is a
report. (One process, because imports take longer than all the steps.)
"""

import json
import runpy
import sys
import traceback
from collections import OrderedDict
from pathlib import Path

import amd_mm
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import runner
from mmengine.visualization import Visualizer

TRAIN = Path(amd_mm.__file__).parent / '.mim' / 'tools' / 'train.py'


def train(config: str, options: list) -> str:
    """Run the script; return '' or its error."""
    for kind in (DefaultScope, MessageHub, MMLogger, Visualizer):
        kind._instance_dict = OrderedDict()  # as in a process of its own
    sys.argv = [
        'train.py',
        f'{config}.py',
        '--no-validate',
        '--work-dir',
        f'work_dirs/{config}',
        '--cfg-options',
        *options,
        'default_hooks.logger.interval=1',
    ]
    try:
        runpy.run_path(str(TRAIN), run_name='__main__')
    except (Exception, SystemExit):
        return traceback.format_exc()
    return ''


def main() -> None:
    """Walk over the configs."""
    torch.set_num_threads(1)
    sys.path.insert(0, str(TRAIN.parent))  # as Python does for a script
    runner.collect_env = dict  # each run would ask for compilers, which takes a second
    plan, tests = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    results = {name: train(name, plan[name]) for name in plan}
    failed = pytest.main(['-q', '-p', 'no:cacheprovider', tests])
    report = dict(results=results, tests=int(failed), package=amd_mm.__file__)
    print(json.dumps(report))


if __name__ == '__main__':
    main()
