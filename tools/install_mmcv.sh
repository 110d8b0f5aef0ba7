# shellcheck shell=bash
# The mmcv steps of tools/install.sh, which reads this file: with compiled
# operators, kept in the cache, or without any.

# In an environment: the logs of CUDA operators that could not be compiled.
failed_builds='mmcv-*-failed.log'

mmcv_fits() { # are operators of the right mmcv here, and do they load?
    imports mmcv._ext && state pins "$(pins mmcv)" >/dev/null
}

install_mmcv_lite() {
    if mmcv_fits; then
        say '      the compiled mmcv that is here already is kept'
        return
    fi
    run "$python" -m pip uninstall -y mmcv
    run "$python" -m pip install --no-deps --no-build-isolation \
        "mmcv-lite==$mmcv_version"
}

install_mmcv() { # with operators for CUDA if they can be had, else for the CPU
    local answer tag architectures obstacle failed
    remove_stale_builds
    answer=$(state mmcv-tag "$mmcv_version" ${gpu:+--gpu} --nvcc "$nvcc" \
        2>>"$logs/$step_number.log") || fail "$logs/$step_number.log"
    { read -r tag; read -r architectures; read -r obstacle; } <<<"$answer"
    [ -z "$obstacle" ] ||
        note="mmcv's operators are for the CPU only: $obstacle."
    failed=$venv/$tag-failed.log
    # What failed is not tried for minutes by every script that comes along.
    [ "$again" = yes ] && [ -f "$failed" ] || {
        rm -f "$venv"/$failed_builds
        install_operators "$tag" "$architectures" && return
        [ -n "$architectures" ] || fail "$build_log"
        cp "$build_log" "$failed"
    }
    say '      no operators for CUDA could be compiled; taking those for the CPU'
    note="mmcv's operators are for the CPU only: compiling them for CUDA
      failed, see $failed
      What to do: $(advice "$failed")
      To try again: bash tools/install.sh"
    tag=$(state mmcv-tag "$mmcv_version" 2>>"$logs/$step_number.log" | head -n 1)
    install_operators "$tag" '' || fail "$build_log"
}

install_operators() { # install_operators TAG ARCHITECTURES: cached or compiled
    local folder=$cache/wheels/$1 log=$logs/$step_number.log
    [ "$(cat "$venv/amd-mm-mmcv.tag" 2>/dev/null)" != "$1" ] || ! mmcv_fits ||
        return 0
    if compgen -G "$folder/mmcv-*.whl" >/dev/null; then
        say "      from the cache: $folder"
        if install_wheel "$folder" "$log"; then
            say "$1" >"$venv/amd-mm-mmcv.tag"
            return
        fi
        say "      the cached wheel does not load: $(last_line "$log")"
        say '      it is compiled anew'
    fi
    compile_mmcv "$@" && say "$1" >"$venv/amd-mm-mmcv.tag"
}

install_wheel() { # install_wheel FOLDER LOG: and see whether its operators load
    rm -f "$venv/amd-mm-mmcv.tag"
    "$python" -m pip uninstall -y mmcv-lite mmcv >>"$2" 2>&1
    quietly "$2" last_line "$python" -m pip install --no-deps --no-index \
        --force-reinstall "$1"/mmcv-*.whl && imports mmcv._ext "$2"
}

compile_mmcv() { # compile_mmcv TAG ARCHITECTURES: a new wheel into the cache
    local tag=$1 architectures=$2 settings headers
    build_log=$logs/$step_number-build-$tag.log
    command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null ||
        stop "$(compiler_advice)"
    scratch=$cache/wheels/.building-$$
    rm -rf "$scratch"
    mkdir -p "$scratch/tmp"
    settings=(MMCV_WITH_OPS=1 "TMPDIR=$scratch/tmp"
        "MAX_JOBS=${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)}")
    if [ -n "$architectures" ]; then
        # The CUDA headers of the pip packages lie beside torch.
        headers=$(printf '%s:' "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"/nvidia/*/include)
        settings+=(FORCE_CUDA=1 "TORCH_CUDA_ARCH_LIST=$architectures"
            "CUDA_HOME=$(dirname "$(dirname "$nvcc")")"
            "CPATH=$headers${CPATH:-}")
    else
        settings+=(FORCE_CUDA=0 CUDA_VISIBLE_DEVICES=-1)
    fi
    say "      compiling mmcv $mmcv_version ($tag); about 20 minutes of one" \
        "core's work. Its log: $build_log"
    quietly "$build_log" compiled_so_far env "${settings[@]}" \
        "$python" -m pip wheel -v --no-cache-dir --no-deps \
        --no-build-isolation "mmcv==$mmcv_version" -w "$scratch" || return
    install_wheel "$scratch" "$build_log" || return
    # Only a wheel that was seen to work gets into the cache, at one stroke.
    mkdir -p "$cache/wheels/$tag"
    mv -f "$scratch"/*.whl "$cache/wheels/$tag/"
    rm -rf "$scratch"
    scratch=
}

remove_stale_builds() { # of installations that were killed, a day ago or more
    find "$cache/wheels" -maxdepth 1 -name '.building-*' -mtime +0 \
        -exec rm -rf {} + 2>/dev/null
}
