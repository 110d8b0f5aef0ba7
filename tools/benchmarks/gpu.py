"""Learn what a GPU has to tell in a few minutes; gpu.sh installs what it needs and runs it.

    bash tools/benchmarks/gpu.sh [--minutes 7] [--out FOLDER]
    bash tools/benchmarks/gpu.sh --rehearse        # the same on CPUs, in tiny sizes

The parts run in order of value, each as a program of its own with a time limit. Each result is
written at once: FOLDER/PART.md and .json, and FOLDER/README.md with the state of all parts.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PRETRAIN = ROOT / 'configs' / 'amd' / 'pretrain'
SMALL = PRETRAIN / 'amd_vit-small-p16_vit-large_32xb16v4-16x2x1-200e_sthv2.py'
BASE = PRETRAIN / 'amd_vit-base-p16_vit-large_32xb16v4-16x2x1-200e_sthv2.py'
TINY = ROOT / 'configs' / 'quickstart' / 'quickstart_amd_student.py'
CORE = ('torch', 'torchvision', 'numpy', 'mmengine', 'mmcv', 'mmaction', 'mmpretrain', 'cv2')
EXTRAS = ('pytest', 'hypothesis', 'av', 'matplotlib', 'sklearn')
# What each alternative changes in the step of ViT-B from ViT-L.
LEVERS = {
    'compiled': 'model.compile_blocks=True',
    'teacher-float32': 'model.teacher.dtype=float32',
    'optimizer-not-fused': 'optim_wrapper.optimizer.fused=False',
    'attention-of-mmaction': 'model.backbone.fused_attention=False',
}


@dataclass(frozen=True)
class Part:
    """A program of the session.

    Attributes:
        name: Of its files.
        command: Its command line after ``python``.
        seconds: Its limit.
        needs: Modules that it imports beyond ``CORE``.
        json: Whether it takes ``--json``.
    """

    name: str
    command: Sequence[str | Path]
    seconds: int
    needs: tuple[str, ...] = ()
    json: bool = True


def make_parts(rehearse: bool) -> list[Part]:
    """All parts, the most valuable first; a rehearsal runs on the CPU in tiny sizes."""
    device = (
        ['--device', 'cpu', '--threads', '1']
        if rehearse
        else ['--device', 'cuda', '--dtype', 'bf16']
    )
    runs = ['--repeats', '1' if rehearse else '5', '--warmup', '1' if rehearse else '2']
    fast = [*device, *runs, '--loss-steps', '1' if rehearse else '3']
    small, base = (TINY, TINY) if rehearse else (SMALL, BASE)

    def step(name: str, config: Path, batch: int, *more: str, seconds: int = 60) -> Part:
        size = '1' if rehearse else str(batch)
        command = [HERE / 'pretrain_step.py', config, '--batch', size, *fast, *more]
        return Part(name, command, seconds)

    tests = [ROOT / 'tests' / 'test_models' / f'test_{name}.py' for name in ('device', 'no_sync')]
    size = ['--size', 'tiny', '--frames', '4', '--side', '32'] if rehearse else ['--size', 'base']
    batch = ['--batch', '1' if rehearse else '16']
    return [
        Part('correct', ['-m', 'pytest', '-q', *tests], 90, ('pytest', 'hypothesis'), json=False),
        step('step-base', base, 64, '--against', 'plain', seconds=90),
        step('step-small', small, 64, '--against', 'plain', seconds=75),
        *(step(f'step-base-{n}', base, n) for n in (128, 256, 512)),
        *(step(f'lever-{name}', base, 64, '--against', one) for name, one in LEVERS.items()),
        Part('recognition', [HERE / 'recognition.py', *size, *batch, *device, *runs], 60),
        Part('learning', [HERE / 'learning.py', *(['--tiny'] if rehearse else [])], 120, ('av',)),
        Part('data-pipeline', [HERE / 'data_pipeline.py', *runs], 60, ('av',)),
    ]


def run(part: Part, out: Path, seconds: float) -> str:
    """Run a part and write its files; says how it ended."""
    absent = [name for name in part.needs if importlib.util.find_spec(name) is None]
    if absent:
        return f'needs {", ".join(absent)}'
    command = [sys.executable, *map(str, part.command)]
    if part.json:
        command += ['--json', str(out / f'{part.name}.json')]
    started = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        printed, _ = process.communicate(timeout=seconds)
        end = 'done' if process.returncode == 0 else f'failed, exit status {process.returncode}'
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        end = 'stopped at its limit'
    shown = ' '.join(one.replace(f'{ROOT}/', '') for one in ['python', *command[1:]])
    (out / f'{part.name}.md').write_text(f'    {shown}\n\n{printed}')
    return f'{end} ({time.monotonic() - started:.0f} s)'


def machine() -> str:
    """Device, driver and versions, one a line."""
    import common
    import torch

    if not torch.cuda.is_available():
        facts = common.describe_machine()
    else:
        facts = common.describe_machine('cuda', 'bf16')
        query = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
        facts['driver'] = subprocess.check_output(query, text=True).strip()
    return '\n'.join(f'- {name}: {value}' for name, value in facts.items())


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog='gpu.sh', description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--minutes', type=float, default=7, help='time for everything (default: 7)')
    add('--out', type=Path, help='folder of the results (default: results/gpu-DATE)')
    add('--rehearse', action='store_true', help='on CPUs, in tiny sizes')
    add('--only', nargs='+', default=[], metavar='PART', help='run these parts alone')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts until the time is up."""
    args = parse_args(arguments)
    ends = time.monotonic() + 60 * args.minutes
    absent = [name for name in CORE if importlib.util.find_spec(name) is None]
    if absent:
        sys.exit(f'gpu.sh: cannot import {", ".join(absent)}: run `gpu.sh --download` first')
    import torch

    if not args.rehearse and not torch.cuda.is_available():
        sys.exit('gpu.sh: PyTorch sees no GPU; --rehearse runs on CPUs')
    parts = make_parts(args.rehearse)
    if wrong := set(args.only) - {part.name for part in parts}:
        sys.exit(f'gpu.sh: no part {", ".join(wrong)}: {", ".join(part.name for part in parts)}')
    out = args.out or HERE / 'results' / time.strftime('gpu-%Y-%m-%d')
    out.mkdir(parents=True, exist_ok=True)
    states = {part.name: 'not run' for part in parts if not args.only or part.name in args.only}
    facts = machine()
    for part in parts:
        left = ends - time.monotonic()
        if part.name in states and left > 5:
            # A rehearsal is not about time.
            limit = left if args.rehearse else min(part.seconds, left)
            states[part.name] = run(part, out, limit)
            print(f'{part.name}: {states[part.name]}', flush=True)
        table = '\n'.join(f'| [{name}]({name}.md) | {state} |' for name, state in states.items())
        (out / 'README.md').write_text(f'{facts}\n\n| part | state |\n|---|---|\n{table}\n')
    print(f'Results: {out}')


if __name__ == '__main__':
    main()
