#!/usr/bin/env bash
# Sets up everything that amd_mm needs; see usage() below.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${AMD_MM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/amd_mm}

usage() {
    cat <<'EOF'
Usage: bash tools/install.sh [options]

Sets up a virtual environment with everything that amd_mm needs. It may be run
again at any time: what is there already is kept, and a second run takes
seconds.

Options:
  --venv DIR      the virtual environment to use or to create. Without it: the
                  active one; else .venv in the repository (.venv-classic with
                  --classic)
  --python EXE    the Python to create it with (3.11 or 3.12; 3.10 with
                  --classic)
  --no-detection  without mmdet and without compiling mmcv (minutes saved):
                  everything works but spatio-temporal detection (AVA)
  --classic       Python 3.10 and PyTorch 2.1.2, for machines held to them
  --again         with the options of the last run in this environment, and
                  without a word if nothing is to be done
  --help          this text

mmcv is compiled once (about 10 minutes on 2 cores) and kept in a cache folder.
If it cannot be compiled for CUDA, its operators are for the CPU; a run without
--again tries once more.
Environment variables:
  AMD_MM_CACHE    the cache folder (default: ~/.cache/amd_mm)
  MAX_JOBS        compilers at a time (default: all cores; fewer if memory
                  runs out)
EOF
}

# --------------------------------------------------------------- messages

say() { printf '%s\n' "$*"; }

stop() { # stop MESSAGE...: end the installation with what went wrong
    say "install.sh: $*" >&2
    exit 1
}

step_number=0
announce() { # announce WHAT: begin the next step
    step_number=$((step_number + 1))
    step_name=$1
    say "[$step_number/$step_count] $step_name"
}

advice() { # advice LOG: what to do about the failure that LOG shows
    if grep -qiE 'No space left|Disk quota' "$1"; then
        say 'the disk is full: about 4 GB are needed (8 GB with CUDA), some of' \
            "it in ${TMPDIR:-/tmp}; free some and run this again."
    elif grep -qE 'Python\.h: No such file' "$1"; then
        say "Python's header files are missing: install them (Debian, Ubuntu:" \
            "sudo apt-get install python$python_version-dev), run this again."
    elif grep -qE "command '[^']*(gcc|g\+\+|cc|c\+\+)' failed: No such|(g\+\+|gcc|c\+\+): (command )?not found" "$1"; then
        compiler_advice
    elif grep -qiE 'Killed signal|out of memory|Cannot allocate memory' "$1"; then
        say 'memory ran out: run this again with fewer compilers at a time,' \
            'MAX_JOBS=1 bash tools/install.sh'
    elif grep -qiE 'name resolution|Could not resolve|getaddrinfo|Connection|unreachable|timed out|ProxyError|SSLError|No matching distribution|Could not find a version|ReadTimeout' "$1"; then
        say 'pip could not get a package: check the network, a proxy' \
            '(https_proxy) and pip'"'"'s own settings (python -m pip config list),' \
            'then run this again; what is done already is kept.'
    elif grep -qiE 'Permission denied' "$1"; then
        say "no right to write there: check who owns $venv and $cache."
    else
        say 'read the end of the log; run this again when it is mended.'
    fi
}

compiler_advice() {
    say 'a C++ compiler is missing: install one (Debian, Ubuntu: sudo apt-get' \
        'install g++), or leave detection out: bash tools/install.sh' \
        '--no-detection'
}

fail() { # fail LOG: say which step failed, show the end of its log, advise
    {
        say
        say "install.sh: step $step_number of $step_count failed: $step_name"
        say '  its log has, at the end:'
        # Compilers say what is wrong long before the last line.
        { head -n -8 "$1" | grep -E '(error|FAILED):' | tail -n 6; tail -n 8 "$1"; } |
            cut -c1-200 | sed 's/^/    | /'
        say "  whole log:  $1"
        say "  what to do: $(advice "$1")"
    } >&2
    exit 1
}

# ------------------------------------------------ running with a heartbeat

heartbeat_pid=
scratch=
logs=

clean_up() {
    [ -z "$heartbeat_pid" ] || kill "$heartbeat_pid" 2>/dev/null
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ -z "$logs" ] || rmdir "$logs" 2>/dev/null
}
trap clean_up EXIT
trap 'say "install.sh: interrupted; run it again to go on"; exit 130' INT TERM

last_line() { # last_line LOG: where pip is, in a few words
    grep -vE '^(WARNING|$)' "$1" | tail -n 1 | tr -d '\r' |
        sed 's/^ *//' | cut -c1-60
}

compiled_so_far() { # compiled_so_far LOG: how far ninja is
    local done_of
    done_of=$(grep -oE '^ *\[[0-9]+/[0-9]+\]' "$1" | tail -n 1 | tr -d ' []')
    if [ -n "$done_of" ]; then
        say "${done_of%/*} of ${done_of#*/} files compiled"
    else
        say 'preparing'
    fi
}

heartbeat() { # heartbeat LOG PROGRESS: a sign of life every 15 seconds
    local second=0
    # A last sleep outlives it: the output and the lock are none of its own.
    while sleep 1 >/dev/null 2>&1 9>&-; do
        second=$((second + 1))
        [ $((second % 15)) -ne 0 ] ||
            printf '      %4d s  %s\n' "$second" "$("$2" "$1")"
    done
}

quietly() { # quietly LOG PROGRESS COMMAND...: run, output to LOG
    local log=$1 progress=$2 code
    shift 2
    heartbeat "$log" "$progress" &
    heartbeat_pid=$!
    "$@" >>"$log" 2>&1
    code=$?
    kill "$heartbeat_pid" 2>/dev/null
    wait "$heartbeat_pid" 2>/dev/null
    heartbeat_pid=
    return "$code"
}

run() { # run COMMAND...: run as (a part of) the current step, or fail
    local log=$logs/$step_number.log
    say "\$ $*" >>"$log"
    quietly "$log" last_line "$@" || fail "$log"
}

# ------------------------------------------------------------ finding things

python_fits() { # python_fits EXE: does it run, and is it of a right version?
    "$1" -c "import sys; sys.exit(sys.version_info[:2] not in $wanted_pythons)" \
        >/dev/null 2>&1
}

find_python() { # print a Python of a right version
    local candidate
    for candidate in $python_names python3 python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python; do
        if python_fits "$candidate"; then
            say "$candidate"
            return
        fi
    done
    stop "no Python $wanted_text was found." \
        "Install one (Debian, Ubuntu: sudo apt-get install ${python_names%% *}" \
        "${python_names%% *}-venv), or name one with --python EXE."
}

has_gpu() {
    local answer
    answer=$(nvidia-smi -L 2>/dev/null) && [[ $answer == GPU* ]]
}

find_nvcc() { # print the path of a CUDA compiler, if there is one
    local candidate
    for candidate in ${CUDA_HOME:+"$CUDA_HOME/bin/nvcc"} nvcc \
        /usr/local/cuda/bin/nvcc; do
        command -v "$candidate" 2>/dev/null && return
    done
    return 0
}

pins() { # pins NAME: the requirements file of that name
    local override=$root/requirements/classic/$1.txt
    if [ "$classic" = yes ] && [ -f "$override" ]; then
        say "$override"
    else
        say "$root/requirements/$1.txt"
    fi
}

state() { "$python" "$root/tools/install_state.py" "$@"; }

imports() { # imports MODULES [LOG]: can the environment import them all?
    # Not from the repository, where amd_mm is found without being installed.
    (cd "$venv" && "$python" -c "import torch, $1") >>"${2:-/dev/null}" 2>&1
}

# ---------------------------------------------------------------- the steps

has_environment() { "$python" -m pip --version >/dev/null 2>&1; }

version_of() { # version_of EXE: 3.11, say
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

check_base_python() { # --python: is it fit, and of any effect?
    command -v "$base_python" >/dev/null ||
        stop "--python: there is no $base_python."
    python_fits "$base_python" ||
        stop "--python: $base_python is" \
            "$("$base_python" -V 2>&1 | head -n 1); needed is $wanted_text."
    has_environment || return 0
    [ "$(version_of "$python")" = "$(version_of "$base_python")" ] ||
        stop "--python: the environment $venv is there already, with Python" \
            "$(version_of "$python"); remove it, or name another one with" \
            '--venv DIR.'
    say "The environment $venv is there already and is kept as it is: --python" \
        'makes new ones only.'
}

make_environment() {
    if has_environment; then
        python_fits "$python" ||
            stop "the environment $venv has $("$python" -V), but $wanted_text" \
                'is needed. Give another one with --venv DIR (and leave the' \
                'active one with: deactivate).'
        return
    fi
    if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] &&
        [ -n "$(ls -A "$venv")" ]; then
        stop "$venv exists and is no virtual environment; name another one."
    fi
    local base=$base_python
    [ -n "$base" ] || base=$(find_python) || exit 1
    "$base" -c 'import venv, ensurepip' 2>/dev/null ||
        stop "$base cannot make virtual environments: its venv module is" \
            'missing. Install it (Debian, Ubuntu: sudo apt-get install' \
            "python$(version_of "$base")-venv)."
    run "$base" -m venv "$venv"
}

install_pins() { # install_pins NAME...: what these requirements files name
    local name arguments=()
    for name; do arguments+=(-r "$(pins "$name")"); done
    # Bytecode is written at the first import, of what is imported only.
    run "$python" -m pip install --no-compile "${arguments[@]}" \
        -c "$(pins constraints)"
}

mend_opencv() { # take the headless wheels where the system has no libGL
    local error version
    error=$("$python" -c 'import cv2; cv2.VideoCapture' 2>&1) && return
    case $error in
    *libGL* | *libgthread* | *libglib*)
        say '      OpenCV needs the system library libGL.so.1 (Debian, Ubuntu:' \
            'libgl1), which does not load: taking the headless build instead'
        version=$(sed -n 's/^opencv-python==\([^ ]*\).*/\1/p' "$(pins runtime)")
        # All builds share one folder: none may be left half overwritten.
        run "$python" -m pip uninstall -y opencv-python opencv-contrib-python \
            opencv-python-headless opencv-contrib-python-headless
        run "$python" -m pip install --no-deps \
            "opencv-python-headless==$version" \
            "opencv-contrib-python-headless==$version"
        ;;
    esac
    run "$python" -c 'import cv2; cv2.VideoCapture'
}

write_bytecode() { # where Python is told not to, as in many containers
    [ -n "${PYTHONDONTWRITEBYTECODE:-}" ] || return 0
    say '      writing bytecode: PYTHONDONTWRITEBYTECODE is set, and without' \
        'it every start would take seconds longer'
    # Packages bring files of other Pythons, too, which do not compile.
    "$python" -m compileall -q -j 0 "$root/amd_mm" "$("$python" -c \
        'import sysconfig; print(sysconfig.get_path("purelib"))')" \
        >/dev/null 2>&1 || true
}

# shellcheck source=tools/install_mmcv.sh
. "$root/tools/install_mmcv.sh"

# ------------------------------------------------------------- command line

venv= base_python= detection=yes classic=no again=no
while [ $# -gt 0 ]; do
    case $1 in
    --venv | --python)
        [ $# -ge 2 ] || stop "$1 needs a value; see --help."
        if [ "$1" = --venv ]; then venv=$2; else base_python=$2; fi
        shift
        ;;
    --no-detection) detection=no ;;
    --classic) classic=yes ;;
    --again) again=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) stop "unknown option $1; see --help." ;;
    esac
    shift
done

if [ -z "$venv" ] && [ -n "${VIRTUAL_ENV:-}" ]; then
    [ -z "$base_python" ] ||
        stop '--python creates an environment, but one is active already:' \
            'name the new one with --venv DIR, or leave this one: deactivate'
    venv=$VIRTUAL_ENV
elif [ -z "$venv" ]; then
    venv=$root/.venv
    [ "$classic" = no ] || venv=$root/.venv-classic
fi
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
python=$venv/bin/python
stamp=$venv/amd-mm-install.stamp

if [ "$again" = yes ] && [ -f "$stamp" ]; then
    { read -r _; read -r detection; read -r classic; } <"$stamp"
elif [ "$detection" = no ] && [ -f "$stamp" ] &&
    [ "$(head -n 1 "$stamp")" != unfinished ]; then
    detection=$(sed -n 2p "$stamp") # if it is here, nothing is taken away
fi

if [ "$classic" = yes ]; then
    wanted_pythons='((3, 10),)' wanted_text=3.10 python_names=python3.10
else
    wanted_pythons='((3, 11), (3, 12))' wanted_text='3.11 or 3.12'
    python_names='python3.11 python3.12'
fi
mmcv_version=$(sed -n 's/^mmcv==\([^ ]*\).*/\1/p' "$(pins mmcv)")
groups=(runtime mim tests)
# The classic Python is older than what these ask for.
[ "$classic" = yes ] || groups+=(checks docs)
[ "$detection" = no ] || groups+=(detection)
pinned=(build no_deps mmcv "${groups[@]}")
gpu=
has_gpu && gpu=yes
nvcc=$(find_nvcc)
note=
[ -z "$base_python" ] || check_base_python

# --------------------------------------------------------------- is it done?

find_pins() { # find_pins NAME...: their paths, into the array pin_files
    local name
    pin_files=()
    for name; do pin_files+=("$(pins "$name")"); done
}

current_key() {
    local scripts=("$root/setup.py" "$root"/tools/install*.sh)
    find_pins "${pinned[@]}" constraints
    # Of what other packages pull in, not all is needed everywhere: which of
    # it is missing is to be as it was after the installation.
    state key --files "${scripts[@]}" "${pin_files[@]}" \
        --words "$root" "$detection" "$classic" "gpu=$gpu" "nvcc=$nvcc" \
        "$(state pins "$(pins constraints)")"
}

mark() { # mark KEY: note how far this environment is, and with which options
    printf '%s\n' "$1" "$detection" "$classic" >"$stamp"
}

is_done() {
    local modules='mmengine, mmcv, amd_mm'
    [ "$detection" = no ] || modules='mmengine, mmcv._ext, amd_mm'
    [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$(current_key)" ] || return
    # Who does not say --again wants operators that failed to be tried again.
    [ "$again" = yes ] || ! compgen -G "$venv/$failed_builds" >/dev/null || return
    find_pins "${pinned[@]}"
    state pins "${pin_files[@]}" >/dev/null && imports "$modules"
}

if is_done; then
    [ "$again" = no ] || exit 0
    say "Everything is in place in $venv"
    (cd "$venv" && exec "$python" -m amd_mm.doctor)
    exit
fi

# ------------------------------------------------------------------ install

mkdir -p "$cache/logs" 2>/dev/null && [ -w "$cache/logs" ] ||
    stop "the cache folder $cache cannot be written; set AMD_MM_CACHE."
logs=$(mktemp -d "$cache/logs/$(date +%Y%m%d-%H%M%S)-XXXX")
step_count=7
began=$SECONDS
if command -v flock >/dev/null; then
    exec 9>"$cache/logs/$(printf '%s' "$venv" | cksum | cut -d' ' -f1).lock"
    flock -n 9 || { say 'waiting for another install.sh to end ...' && flock 9; }
fi
say "amd_mm: installing into $venv"

announce 'virtual environment'
make_environment
python_version=$(version_of "$python")
mark unfinished

announce 'PyTorch and build tools'
install_pins build

announce "packages (${groups[*]})"
install_pins "${groups[@]}"
mend_opencv

if [ "$detection" = yes ]; then
    announce "mmcv $mmcv_version with compiled operators"
    install_mmcv
else
    announce "mmcv-lite $mmcv_version"
    install_mmcv_lite
fi

announce 'openmim'
run "$python" -m pip install --no-deps -r "$(pins no_deps)"

announce 'amd_mm itself (editable)'
run "$python" -m pip install --no-deps --no-build-isolation -e "$root"
write_bytecode
mark "$(current_key)"

announce 'what works (python -m amd_mm.doctor)'
(cd "$venv" && "$python" -m amd_mm.doctor)
code=$?
[ -z "$note" ] || say "Note: $note"
if [ $code -ne 0 ]; then
    mark unfinished
    stop 'the core of amd_mm does not work here; see the lines above.'
fi
rm -rf "$logs"
say
say "Done in $((SECONDS - began)) s. To use it: source ${venv#"$PWD"/}/bin/activate"
