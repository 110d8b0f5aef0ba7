#!/usr/bin/env bash
# Runs all tests, after setting up what they need. Arguments go to pytest:
#   bash tools/run_tests.sh tests/test_models -k teacher
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
bash tools/install.sh --again || exit 1
python=${VIRTUAL_ENV:-$PWD/.venv}/bin/python

# The models under test are tiny: one thread each, several tests at a time.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
workers=$("$python" -c 'import os; print(min(os.cpu_count() or 1, 8))')
exec "$python" -m pytest -n "$workers" "$@"
