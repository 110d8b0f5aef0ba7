#!/usr/bin/env bash
# Install amd_mm and the packages that it was tested with; see usage() below.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
    cat <<'TEXT'
Usage: bash tools/install.sh [options]

Installs amd_mm and the packages that it was tested with into a virtual environment, and shows what
works. It can be run again at any time: what is installed is kept.

Options:
  --venv DIR      the environment to use or create (default: the active one, else .venv in the
                  repository)
  --python EXE    the Python to create it with: 3.11 or 3.12, or 3.10 for PyTorch 2.1.2
  --quickstart    only what the quickstart needs: no action detection and no mim
  --tests         also what tests, linters and documentation need
  --compile-mmcv  also compile MMCV's operators (10 to 35 minutes on two cores). Only models of
                  MMDetection that use more than RoIAlign and NMS need them
  --again         do nothing if a former run has installed the same
  --help          show this text
TEXT
}

stop() { # stop MESSAGE...
    echo "install.sh: $*" >&2
    exit 1
}

version_of() { # version_of EXE: its Python version, for example 3.11
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none
}

pip_install() { # pip_install ARGUMENTS...
    # Compiling every module takes longer than the rest, so Python compiles those that it imports.
    local bytecode=--no-compile
    [ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || bytecode=--compile
    "$python" -m pip install $bytecode "$@" | sed '/^Requirement already satisfied/d' ||
        stop 'pip failed, see above. Run the same command again when the reason is removed'
}

# ---------------------------------------------------------------- command line

venv=${VIRTUAL_ENV:-$root/.venv} base= sets=(torch base full) compile= again=
while [ $# -gt 0 ]; do
    case $1 in
    --venv | --python)
        [ $# -ge 2 ] || stop "$1 needs a value; see --help"
        if [ "$1" = --venv ]; then venv=$2; else base=$2; fi
        shift
        ;;
    --quickstart) sets=(torch base) ;;
    --tests) sets=(torch base full tests) ;;
    --compile-mmcv) compile=yes ;;
    --again) again=yes ;;
    -h | --help) usage && exit ;;
    *) stop "unknown option $1; see --help" ;;
    esac
    shift
done
python=$venv/bin/python
stamp=$venv/amd_mm-installed.txt # checksums of the files that decide what is installed

# ---------------------------------------------------------------- the environment

if [ ! -x "$python" ]; then
    for candidate in ${base:-python3.11 python3.12 python3.10 python3 python}; do
        [[ $(version_of "$candidate") != 3.1[012] ]] || break
    done
    [[ $(version_of "$candidate") = 3.1[012] ]] ||
        stop "found no Python 3.11 or 3.12${base:+ in $base}: install one, or name it with --python"
    echo "Making the environment $venv"
    "$candidate" -m venv "$venv" ||
        stop 'venv failed, see above (Debian, Ubuntu: sudo apt-get install python3-venv)'
fi
case $(version_of "$python") in
3.11 | 3.12) pins=$root/requirements ;;
3.10) pins=$root/requirements/classic ;;
*) stop "$venv has $("$python" -V), not 3.11 or 3.12: name another environment with --venv" ;;
esac
files=("$root/setup.py")
for name in "${sets[@]}"; do files+=("$pins/$name.txt"); done

if [ -n "$again" ] && [ -f "$stamp" ]; then
    changed=$(cksum "${files[@]}" | grep -vxFf "$stamp" || true)
    [ -n "$changed$compile" ] || exit 0
fi

# ---------------------------------------------------------------- install

echo 'Installing PyTorch'
pip_install -r "${files[1]}"
echo 'Installing the other packages'
requirements=()
for file in "${files[@]:2}"; do requirements+=(-r "$file"); done
pip_install --no-deps --no-build-isolation "${requirements[@]}" -e "$root"
[ -z "$compile" ] || "$python" "$root/tools/compile_mmcv.py"
cksum "${files[@]}" >"$stamp"

echo
"$python" -m amd_mm.doctor || stop 'the core of amd_mm does not work, see above'
echo
echo "Done in $SECONDS s. To use it: source $venv/bin/activate"
