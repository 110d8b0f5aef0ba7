#!/usr/bin/env bash
# Show on small videos that distillation works: bash tools/quickstart.sh --help
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${VIRTUAL_ENV:-$root/.venv}/bin/python
[ -x "$python" ] || python=python3 # before the installation
exec "$python" "$root/tools/quickstart/quickstart.py" "$@"
