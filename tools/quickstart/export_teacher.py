"""Write the encoder of a checkpoint in half precision, as the quickstart's teacher is shipped.

python tools/quickstart/export_teacher.py iter_4000.pth teacher.safetensors
"""

import argparse

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
from amd_mm.checkpoints import read_checkpoint, save_weights, to_amd_mm


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint')
    parser.add_argument('file', help='ends with .safetensors')
    args = parser.parse_args(arguments)
    state = to_amd_mm(read_checkpoint(args.checkpoint)).state
    encoder = {name: value.half() for name, value in state.items() if name.startswith('backbone.')}
    print('sha256', save_weights(encoder, args.file, 'amd_mm', force=True))


if __name__ == '__main__':
    main()
