#!/usr/bin/env bash
# Replaces an environment's python in test_install_script.py. The arguments of pip are recorded in
# the file `calls` of the environment; other files there decide what is installed and what fails:
#   version      3.11, if there is no such file
#   missing      names of packages that are not installed
#   mmcv         the contents of the mmcv wheel that is installed
#   libGL        if it exists, OpenCV does not load without `headless`
#   fails        the pip command that fails
#   breaks_for   FORCE_CUDA (0 or 1) of builds that fail
#   wheel_is     the contents of wheels that are built; else `sound`
env=$(cd "$(dirname "$0")/.." && pwd)
has() { [ -f "$env/$1" ]; }
version=$(cat "$env/version" 2>/dev/null || echo 3.11)

pip() {
    echo "$*" >>"$env/calls"
    if has fails && [ "$1" = "$(cat "$env/fails")" ]; then
        echo 'ERROR: pip fails'
        exit 1
    fi
    case "$*" in
    *opencv-python-headless==*) touch "$env/headless" ;;
    uninstall*mmcv*) rm -f "$env/mmcv" ;;
    wheel*)
        if has breaks_for && [ "$(cat "$env/breaks_for")" = "$FORCE_CUDA" ]; then
            echo 'x.cu: error: the build breaks'
            exit 1
        fi
        cat "$env/wheel_is" >"${*: -1}/mmcv-2.1.0-any.whl" 2>/dev/null ||
            echo sound >"${*: -1}/mmcv-2.1.0-any.whl"
        ;;
    *--force-reinstall*) cp "${*: -1}" "$env/mmcv" ;;
    *mmcv-lite==*) echo lite >"$env/mmcv" ;;
    install*) rm -f "$env/missing" ;;
    esac
}

unmet_pins() { # unmet_pins FILE...: the lines that name missing packages
    has missing || return 0
    ! grep -h -f "$env/missing" "$@"
}

run_code() { # run_code CODE: python -c CODE
    case $1 in
    *'version_info[:2] not in'*) [[ $1 == *"(${version/./, })"* ]] ;;
    *'"%d.%d"'*) echo "$version" ;;
    *purelib*) echo "$env/site" ;;
    'import '*) import_modules "$1" ;;
    *) unknown "$*" ;;
    esac
}

import_modules() { # import_modules CODE: do these imports work?
    if [[ $1 == *mmcv._ext* && $(cat "$env/mmcv" 2>/dev/null) != sound ]]; then
        echo 'ImportError: undefined symbol: of_another_torch' >&2
        return 1
    fi
    if [[ $1 == *cv2* ]] && has libGL && ! has headless; then
        echo 'ImportError: libGL.so.1: cannot open shared object file' >&2
        return 1
    fi
    # In the repository itself it is always found.
    [[ $1 != *amd_mm* || $PWD != "$env" ]] || has amd_mm
}

unknown() { # unknown WORDS: the script has changed, so this stub has to change
    echo "the stub does not know: $*" >&2
    exit 3
}

case "$*" in
'-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
'-m pip --version') ;;
'-m pip install'*' -e '*) touch "$env/amd_mm" && pip "${@:3}" ;;
'-m pip '*) pip "${@:3}" ;;
'-m amd_mm.doctor') echo 'the doctor speaks' ;;
'-m compileall'*) ;;
'-c '*) run_code "$2" ;;
*'install_state.py key '*) exec "$REAL_PYTHON" "$@" ;;
*'install_state.py pins '*) unmet_pins "${@:3}" ;;
*'install_state.py mmcv-tag 2.1.0 --gpu'*) printf 'mmcv-cu130\n9.0\n\n' ;;
*'install_state.py mmcv-tag '*) printf 'mmcv-cpu\n\n\n' ;;
*) unknown "$*" ;;
esac
