#!/usr/bin/env bash
# What can be said of the code without running it: style, types and the order
# of the rooms. `ruff check --fix` and `ruff format` mend most of the first.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
bin=${VIRTUAL_ENV:-$PWD/.venv}/bin
failed=
check() { # check COMMAND...: say what is run, and go on if it fails
    printf '\n$ %s\n' "$*"
    "$bin/$1" "${@:2}" || failed+=" $1"
}

check ruff check --quiet
check ruff format --quiet --check
check mypy
check lint-imports --no-cache --no-logo
[ -z "$failed" ] || {
    printf '\nlint.sh: see above what does not pass:%s\n' "$failed" >&2
    exit 1
}
