#!/usr/bin/env bash
# Check style, types and the order of the packages' imports. `ruff check --fix` and `ruff format`
# mend most of the first.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
bin=${VIRTUAL_ENV:-$PWD/.venv}/bin
failed=
check() { # check COMMAND...: continue if it fails
    printf '\n$ %s\n' "$*"
    "$bin/$1" "${@:2}" || failed+=" $1"
}

check ruff check --quiet
check ruff format --quiet --check
check mypy
check lint-imports --no-cache --no-logo
[ -z "$failed" ] || {
    printf '\nlint.sh: failed, see above:%s\n' "$failed" >&2
    exit 1
}
