"""See that training learns and resumes on this machine: the quickstart's distillation, killed once.

    python tools/benchmarks/learning.py [--tiny] [--json FILE]

Makes the quickstart's videos, trains its AMD student with 640 videos a step (on the GPU, if there
is one), stops the process with SIGTERM after a third of the steps, resumes, and prints the losses.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import common

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'quickstart' / 'quickstart_amd_student.py'
LOSSES = ('loss', 'loss_rec', 'loss_direct', 'loss_generation')


def log_lines(work_dir: Path) -> list[dict]:
    """The logged steps of all runs in a work folder, in their order."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if 'loss' in line]


def train(work_dir: Path, videos: Path, args: argparse.Namespace) -> tuple[float, list[dict]]:
    """Train, stop after a third, resume; the seconds and the logged steps."""
    steps, batch = (9, 4) if args.tiny else (300, 640)
    options = {
        'train_dataloader.dataset.data_root': videos,
        'train_dataloader.batch_size': batch,
        'train_dataloader.num_workers': 1 if args.tiny else 12,
        'train_cfg.max_iters': steps,
        'default_hooks.logger.interval': 1 if args.tiny else 10,
        'optim_wrapper.precision': 'auto',
    }
    command = [sys.executable, str(ROOT / 'tools' / 'train.py'), str(CONFIG), '--resume']
    command += ['--work-dir', str(work_dir), '--cfg-options']
    command += [f'{key}={value}' for key, value in options.items()]
    started = time.monotonic()
    printed = work_dir.parent / 'printed.txt'
    with printed.open('w') as file:
        first = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    while first.poll() is None and not any(
        line['step'] >= steps // 3 for line in log_lines(work_dir)
    ):
        time.sleep(0.5)
    first.send_signal(signal.SIGTERM)
    if first.wait() != 128 + signal.SIGTERM:
        sys.exit(
            f'learning.py: the first run ended with {first.returncode}:\n'
            f'{printed.read_text()[-2000:]}'
        )
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    if again.returncode:
        sys.exit(f'learning.py: the resumed run failed:\n{again.stderr[-2000:]}')
    return time.monotonic() - started, log_lines(work_dir)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--tiny', action='store_true', help='a few steps, to try the program')
    parser.add_argument('--json', type=Path, help='also write the losses to this file')
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        videos, work_dir = Path(folder, 'videos'), Path(folder, 'run')
        make = [sys.executable, str(ROOT / 'tools' / 'quickstart' / 'motion_videos.py')]
        size = ['--train', '8' if args.tiny else '2048', '--heldout', '0']
        subprocess.run([*make, str(videos), *size], check=True, stdout=subprocess.DEVNULL)
        seconds, lines = train(work_dir, videos / 'unlabelled', args)
    print(f'{lines[-1]["step"]} steps in {seconds:.0f} s, resumed once\n')
    rows = [['step', *LOSSES]]
    for line in (lines[0], lines[len(lines) // 2], lines[-1]):
        rows.append([str(line['step']), *(f'{line[name]:.4f}' for name in LOSSES)])
    print(common.table(rows))
    common.write_json(args.json, dict(seconds=seconds, steps=lines))


if __name__ == '__main__':
    main()
