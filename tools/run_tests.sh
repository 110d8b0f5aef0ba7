#!/usr/bin/env bash
# Runs all checks and tests, after setting up what they need, and says how much
# of amd_mm the tests run. With arguments, which go to pytest, tests alone:
#   bash tools/run_tests.sh tests/test_models -k teacher
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
bash tools/install.sh --again || exit 1
bin=${VIRTUAL_ENV:-$PWD/.venv}/bin

arguments=("$@")
if [ $# -eq 0 ] && [ -x "$bin/ruff" ]; then
    bash tools/lint.sh || exit 1
    arguments=(--cov --cov-report=term:skip-covered)
fi

# The models under test are tiny: one thread each, several tests at a time.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
workers=$("$bin/python" -c 'import os; print(min(os.cpu_count() or 1, 8))')
exec "$bin/python" -m pytest -n "$workers" "${arguments[@]}"
