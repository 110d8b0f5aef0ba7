#!/usr/bin/env bash
# Install everything that amd_mm needs into a virtual environment; see usage() below.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${AMD_MM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/amd_mm}

usage() {
    cat <<'EOF'
Usage: bash tools/install.sh [options]

Installs everything that amd_mm needs into a virtual environment. It can be run again at any time:
what is installed is kept, and a second run takes seconds.

Options:
  --venv DIR      the virtual environment to use or create (default: the active one, else .venv in
                  the repository, or .venv-classic with --classic)
  --python EXE    the Python to create it with (3.11 or 3.12; 3.10 with --classic)
  --no-detection  without mmdet and without compiling mmcv: saves minutes, and everything works but
                  spatio-temporal detection (AVA)
  --classic       Python 3.10 and PyTorch 2.1.2, for machines that need them
  --again         use the options of the last run, and print nothing if nothing is to be done
  --help          show this text

mmcv is compiled once (about 10 minutes on 2 cores) and kept in a cache folder. If it cannot be
compiled for CUDA, its operators run on the CPU; a run without --again tries again.
Environment variables:
  AMD_MM_CACHE    the cache folder (default: ~/.cache/amd_mm)
  MAX_JOBS        parallel compilers (default: all cores; use fewer if memory runs out)
EOF
}

# ---------------------------------------------------------------- messages and running commands

say() { printf '%s\n' "$*"; }

stop() { # stop MESSAGE...
    say "install.sh: $*" >&2
    exit 1
}

step_number=0 step_count=7
announce() { # announce WHAT: start the next step
    step_number=$((step_number + 1)) step_name=$1
    say "[$step_number/$step_count] $step_name"
}

fail() { # fail LOG: name the step that failed and show the end of its log
    {
        say
        say "install.sh: step $step_number of $step_count failed: $step_name. Its log ends with:"
        # Compilers print the error long before the last line.
        { head -n -8 "$1" | grep -E '(error|FAILED):' | tail -n 6; tail -n 8 "$1"; } |
            cut -c1-200 | sed 's/^/    | /'
        say "Whole log: $1. Run the same command again when the reason is removed;" \
            'finished steps are skipped.'
    } >&2
    exit 1
}

heartbeat_pid= scratch= logs=
clean_up() {
    [ -z "$heartbeat_pid" ] || kill "$heartbeat_pid" 2>/dev/null
    [ -z "$scratch" ] || rm -rf "$scratch"
    [ -z "$logs" ] || rmdir "$logs" 2>/dev/null
}
trap clean_up EXIT
trap 'say "install.sh: interrupted; run it again to continue"; exit 130' INT TERM

quietly() { # quietly LOG COMMAND...: append the output to LOG, print a line every 15 seconds
    local log=$1 code
    shift
    # The loop does not hold the lock (9) or stdout if it outlives this script by a second.
    while for _ in {1..15}; do sleep 1 >/dev/null 2>&1 9>&-; done; do
        say "      $SECONDS s  $(tail -n 1 "$log" | tr -d '\r' | cut -c1-60)"
    done &
    heartbeat_pid=$!
    "$@" >>"$log" 2>&1
    code=$?
    kill "$heartbeat_pid" 2>/dev/null
    wait "$heartbeat_pid" 2>/dev/null
    heartbeat_pid=
    return "$code"
}

run() { # run COMMAND...: a part of the current step
    local log=$logs/$step_number.log
    say "\$ $*" >>"$log"
    quietly "$log" "$@" || fail "$log"
}

# ---------------------------------------------------------------- questions

python_fits() { # python_fits EXE: is its version one of the wanted ones?
    "$1" -c "import sys; sys.exit(sys.version_info[:2] not in $wanted_pythons)" >/dev/null 2>&1
}

version_of() { # version_of EXE: 3.11, for example
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

find_python() { # print a Python of a wanted version
    local candidate
    for candidate in $python_names python3 python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python; do
        python_fits "$candidate" && say "$candidate" && return
    done
    stop "no Python $wanted_text was found: install one (Debian, Ubuntu: sudo apt-get install" \
        "${python_names%% *} ${python_names%% *}-venv), or name one with --python EXE"
}

find_nvcc() { # print the path of a CUDA compiler if there is one
    local candidate
    for candidate in ${CUDA_HOME:+"$CUDA_HOME/bin/nvcc"} nvcc /usr/local/cuda/bin/nvcc; do
        command -v "$candidate" 2>/dev/null && return
    done
}

pins() { # pins NAME: the requirements file with this name
    local override=$root/requirements/classic/$1.txt
    if [ "$classic" = yes ] && [ -f "$override" ]; then
        say "$override"
    else
        say "$root/requirements/$1.txt"
    fi
}

state() { "$python" "$root/tools/install_state.py" "$@"; }

has_environment() { "$python" -m pip --version >/dev/null 2>&1; }

imports() { # imports MODULES [LOG]: can the environment import them?
    # In the repository amd_mm would be found without being installed.
    (cd "$venv" && "$python" -c "import torch, $1") >>"${2:-/dev/null}" 2>&1
}

mmcv_fits() { # are compiled operators of the right version installed, and do they load?
    imports mmcv._ext && state pins "$(pins mmcv)" >/dev/null
}

# ---------------------------------------------------------------- steps

check_base_python() { # --python: is its version right, and does it matter?
    command -v "$base_python" >/dev/null || stop "--python: there is no $base_python"
    python_fits "$base_python" ||
        stop "--python: $base_python is $("$base_python" -V 2>&1 | head -n 1); needed is $wanted_text"
    has_environment || return 0
    [ "$(version_of "$python")" = "$(version_of "$base_python")" ] ||
        stop "--python: the environment $venv exists with Python $(version_of "$python");" \
            'remove it, or name another one with --venv DIR'
    say "The environment $venv exists and is kept: --python is for new ones."
}

make_environment() {
    local base=$base_python
    if has_environment; then
        python_fits "$python" ||
            stop "the environment $venv has $("$python" -V), but $wanted_text is needed; name" \
                'another one with --venv DIR (deactivate the active one first)'
        return
    fi
    if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        stop "$venv exists and is not a virtual environment; name another one with --venv DIR"
    fi
    [ -n "$base" ] || base=$(find_python) || exit 1
    "$base" -c 'import venv, ensurepip' 2>/dev/null ||
        stop "$base has no venv module; install it (Debian, Ubuntu: sudo apt-get install" \
            "python$(version_of "$base")-venv)"
    run "$base" -m venv "$venv"
}

install_pins() { # install_pins NAME...: the packages of these requirements files
    local name arguments=()
    for name; do arguments+=(-r "$(pins "$name")"); done
    run "$python" -m pip install --no-compile "${arguments[@]}" -c "$(pins constraints)"
}

mend_opencv() { # install the headless build where the system has no libGL
    local error version
    error=$("$python" -c 'import cv2; cv2.VideoCapture' 2>&1) && return
    case $error in
    *libGL* | *libgthread* | *libglib*)
        say '      libGL.so.1 (Debian, Ubuntu: libgl1) is missing: installing headless OpenCV'
        version=$(sed -n 's/^opencv-python==\([^ ]*\).*/\1/p' "$(pins runtime)")
        # All builds share one folder: remove all of them first.
        run "$python" -m pip uninstall -y opencv-python opencv-contrib-python \
            opencv-python-headless opencv-contrib-python-headless
        run "$python" -m pip install --no-deps "opencv-python-headless==$version" \
            "opencv-contrib-python-headless==$version"
        ;;
    esac
    run "$python" -c 'import cv2; cv2.VideoCapture'
}

install_mmcv_lite() {
    if mmcv_fits; then
        say '      keeping the compiled mmcv that is installed'
        return
    fi
    run "$python" -m pip uninstall -y mmcv
    run "$python" -m pip install --no-deps --no-build-isolation "mmcv-lite==$mmcv_version"
}

install_mmcv() { # with operators for CUDA if possible, else for the CPU
    local answer tag architectures obstacle failed
    # What killed builds have left, a day ago or more.
    find "$cache/wheels" -maxdepth 1 -name '.building-*' -mtime +0 -exec rm -rf {} + 2>/dev/null
    answer=$(state mmcv-tag "$mmcv_version" ${gpu:+--gpu} --nvcc "$nvcc" \
        2>>"$logs/$step_number.log") || fail "$logs/$step_number.log"
    { read -r tag; read -r architectures; read -r obstacle; } <<<"$answer"
    [ -z "$obstacle" ] || note="mmcv's operators run on the CPU only: $obstacle."
    failed=$venv/$tag-failed.log
    # With --again, a build that failed is not tried again.
    [ "$again" = yes ] && [ -f "$failed" ] || {
        rm -f "$venv"/$failed_builds
        install_operators "$tag" "$architectures" && return
        [ -n "$architectures" ] || fail "$build_log"
        cp "$build_log" "$failed"
    }
    say '      the operators do not compile for CUDA; installing those for the CPU'
    note="mmcv's operators run on the CPU only: compiling them for CUDA failed, see $failed.
      To try again: bash tools/install.sh"
    tag=$(state mmcv-tag "$mmcv_version" 2>>"$logs/$step_number.log" | head -n 1)
    install_operators "$tag" '' || fail "$build_log"
}

install_operators() { # install_operators TAG ARCHITECTURES: from the cache, or compiled
    local folder=$cache/wheels/$1 log=$logs/$step_number.log
    [ "$(cat "$venv/amd-mm-mmcv.tag" 2>/dev/null)" = "$1" ] && mmcv_fits && return
    if compgen -G "$folder/mmcv-*.whl" >/dev/null; then
        say "      from the cache: $folder"
        install_wheel "$folder" "$log" && say "$1" >"$venv/amd-mm-mmcv.tag" && return
        say "      the cached wheel does not load ($(tail -n 1 "$log")); compiling it again"
    fi
    compile_mmcv "$@" && say "$1" >"$venv/amd-mm-mmcv.tag"
}

install_wheel() { # install_wheel FOLDER LOG: and check that its operators load
    rm -f "$venv/amd-mm-mmcv.tag"
    "$python" -m pip uninstall -y mmcv-lite mmcv >>"$2" 2>&1
    quietly "$2" "$python" -m pip install --no-deps --no-index --force-reinstall \
        "$1"/mmcv-*.whl && imports mmcv._ext "$2"
}

compile_mmcv() { # compile_mmcv TAG ARCHITECTURES: a new wheel into the cache
    local tag=$1 architectures=$2 settings headers
    build_log=$logs/$step_number-build-$tag.log
    command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null ||
        stop 'there is no C++ compiler: install one (Debian, Ubuntu: sudo apt-get install g++),' \
            'or install without detection: bash tools/install.sh --no-detection'
    scratch=$cache/wheels/.building-$$
    rm -rf "$scratch"
    mkdir -p "$scratch/tmp"
    settings=(MMCV_WITH_OPS=1 "TMPDIR=$scratch/tmp"
        "MAX_JOBS=${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)}")
    if [ -n "$architectures" ]; then
        # The CUDA headers of the pip packages are beside torch.
        headers=$(printf '%s:' "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"/nvidia/*/include)
        settings+=(FORCE_CUDA=1 "TORCH_CUDA_ARCH_LIST=$architectures"
            "CUDA_HOME=$(dirname "$(dirname "$nvcc")")" "CPATH=$headers${CPATH:-}")
    else
        settings+=(FORCE_CUDA=0 CUDA_VISIBLE_DEVICES=-1)
    fi
    say "      compiling mmcv $mmcv_version ($tag), about 20 minutes of one core. Log: $build_log"
    quietly "$build_log" env "${settings[@]}" "$python" -m pip wheel -v --no-cache-dir --no-deps \
        --no-build-isolation "mmcv==$mmcv_version" -w "$scratch" || return
    # Only a wheel that works gets into the cache.
    install_wheel "$scratch" "$build_log" || return
    mkdir -p "$cache/wheels/$tag"
    mv -f "$scratch"/*.whl "$cache/wheels/$tag/"
    rm -rf "$scratch"
    scratch=
}

write_bytecode() { # where PYTHONDONTWRITEBYTECODE would make every start seconds slower
    [ -n "${PYTHONDONTWRITEBYTECODE:-}" ] || return 0
    # Packages contain files for other Pythons, which do not compile.
    "$python" -m compileall -q -j 0 "$root/amd_mm" "$("$python" -c \
        'import sysconfig; print(sysconfig.get_path("purelib"))')" >/dev/null 2>&1 || true
}

# ---------------------------------------------------------------- command line

venv= base_python= detection=yes classic=no again=no
while [ $# -gt 0 ]; do
    case $1 in
    --venv | --python)
        [ $# -ge 2 ] || stop "$1 needs a value; see --help"
        if [ "$1" = --venv ]; then venv=$2; else base_python=$2; fi
        shift
        ;;
    --no-detection) detection=no ;;
    --classic) classic=yes ;;
    --again) again=yes ;;
    -h | --help) usage && exit ;;
    *) stop "unknown option $1; see --help" ;;
    esac
    shift
done

if [ -z "$venv" ] && [ -n "${VIRTUAL_ENV:-}" ]; then
    [ -z "$base_python" ] ||
        stop '--python creates an environment, but one is active: name the new one with' \
            '--venv DIR, or deactivate this one'
    venv=$VIRTUAL_ENV
elif [ -z "$venv" ]; then
    venv=$root/.venv
    [ "$classic" = no ] || venv=$root/.venv-classic
fi
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
python=$venv/bin/python
stamp=$venv/amd-mm-install.stamp # key of the installation, detection, classic
failed_builds='mmcv-*-failed.log'

if [ "$again" = yes ] && [ -f "$stamp" ]; then
    { read -r _; read -r detection; read -r classic; } <"$stamp"
elif [ "$detection" = no ] && [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" != unfinished ]; then
    detection=$(sed -n 2p "$stamp") # an installed detection is kept
fi

if [ "$classic" = yes ]; then
    wanted_pythons='((3, 10),)' wanted_text=3.10 python_names=python3.10
else
    wanted_pythons='((3, 11), (3, 12))' wanted_text='3.11 or 3.12'
    python_names='python3.11 python3.12'
fi
mmcv_version=$(sed -n 's/^mmcv==\([^ ]*\).*/\1/p' "$(pins mmcv)")
groups=(runtime mim tests)
[ "$classic" = yes ] || groups+=(checks docs) # these need a newer Python
[ "$detection" = no ] || groups+=(detection)
pin_files=()
for name in build no_deps mmcv "${groups[@]}"; do pin_files+=("$(pins "$name")"); done
gpu=
[[ $(nvidia-smi -L 2>/dev/null) != GPU* ]] || gpu=yes
nvcc=$(find_nvcc)
note=
[ -z "$base_python" ] || check_base_python

# ---------------------------------------------------------------- is there anything to do?

current_key() { # changes with everything that decides the installation
    state key --files "$root/setup.py" "$root/tools/install.sh" "${pin_files[@]}" \
        "$(pins constraints)" --words "$root" "$detection" "$classic" "gpu=$gpu" "nvcc=$nvcc" \
        "$(state pins "$(pins constraints)")" # not all of these are needed everywhere
}

mark() { printf '%s\n' "$1" "$detection" "$classic" >"$stamp"; } # mark KEY

is_done() {
    local modules='mmengine, mmcv, amd_mm'
    [ "$detection" = no ] || modules='mmengine, mmcv._ext, amd_mm'
    [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$(current_key)" ] || return
    # Without --again, operators whose compilation failed are tried again.
    [ "$again" = yes ] || ! compgen -G "$venv/$failed_builds" >/dev/null || return
    state pins "${pin_files[@]}" >/dev/null && imports "$modules"
}

if is_done; then
    [ "$again" = no ] || exit 0
    say "Everything is in place in $venv"
    cd "$venv" && exec "$python" -m amd_mm.doctor
fi

# ---------------------------------------------------------------- install

mkdir -p "$cache/logs" 2>/dev/null && [ -w "$cache/logs" ] ||
    stop "the cache folder $cache cannot be written; set AMD_MM_CACHE"
logs=$(mktemp -d "$cache/logs/$(date +%Y%m%d-%H%M%S)-XXXX")
if command -v flock >/dev/null; then
    exec 9>"$cache/logs/$(printf '%s' "$venv" | cksum | cut -d' ' -f1).lock"
    flock -n 9 || { say 'waiting for another install.sh to end ...' && flock 9; }
fi
say "amd_mm: installing into $venv"

announce 'virtual environment'
make_environment
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

announce 'amd_mm (editable)'
run "$python" -m pip install --no-deps --no-build-isolation -e "$root"
write_bytecode
mark "$(current_key)"

announce 'what works (python -m amd_mm.doctor)'
(cd "$venv" && "$python" -m amd_mm.doctor)
code=$?
[ -z "$note" ] || say "Note: $note"
if [ $code -ne 0 ]; then
    mark unfinished
    stop 'the core of amd_mm does not work here; see the lines above'
fi
rm -rf "$logs"
say "Done in $SECONDS s. To use it: source ${venv#"$PWD"/}/bin/activate"
