#!/usr/bin/env bash
# Install what is missing, then run linters and tests. Arguments go to pytest, and then only the
# tests run:
#   bash tools/run_tests.sh tests/test_models -k teacher
#   bash tools/run_tests.sh --coverage       # linters and tests with coverage, a third slower
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
bash tools/install.sh --tests --again || exit 1
bin=${VIRTUAL_ENV:-$PWD/.venv}/bin

coverage=()
if [ "${1:-}" = --coverage ]; then
    coverage=(--cov --cov-report=term:skip-covered)
    shift
fi
if [ $# -eq 0 ] && [ -x "$bin/ruff" ]; then # Python 3.10 has no ruff
    bash tools/lint.sh || exit 1
fi

# The models of the tests are tiny: one thread each, several tests at a time.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
workers=$("$bin/python" -c 'import os; print(min(os.cpu_count() or 1, 8))')
exec "$bin/python" -m pytest -n "$workers" --dist loadfile "${coverage[@]}" "$@"
