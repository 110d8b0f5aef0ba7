#!/usr/bin/env bash
# Run all benchmarks and keep their output with date, device, versions and command:
#   bash tools/benchmarks/run_all.sh cuda [FOLDER]     bfloat16, batch 64
#   bash tools/benchmarks/run_all.sh cpu [FOLDER]      float32, batch 2, about half an hour
# FOLDER defaults to tools/benchmarks/results/DEVICE-DATE. Existing results are kept.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
device=${1:-}
case $device in
cuda) on=(--device cuda --dtype bf16) batch=64 clips=8 ;;
cpu) on=(--repeats 5 --warmup 1) batch=2 clips=1 ;;
*) sed -n '2,5s/^# \?//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
out=${2:-$here/results/$device-$(date +%Y-%m-%d)}
base=$here/../../configs/amd/pretrain/amd_vit-base-p16_vit-large_32xb16v4-16x4x1-200e_k400.py
failed=0
mkdir -p "$out" || exit 1

bench() { # bench NAME PROGRAM ARGUMENT...: print to FOLDER/NAME.md
    local name=$1 program=$2
    shift 2
    [ ! -e "$out/$name.md" ] || return 0
    echo "== $name" >&2
    {
        printf '    python tools/benchmarks/%s %s\n\n' "$program" "${*/#$here\/..\/..\//}"
        "${PYTHON:-python}" "$here/$program" "$@"
    } >"$out/$name.partial" && mv "$out/$name.partial" "$out/$name.md" || {
        echo "$name failed" >&2
        failed=1
    }
}

step=("$base" "${on[@]}" --batch $batch)
bench step-against-plain pretrain_step.py "${step[@]}" --against plain
bench step-compiled-against-plain pretrain_step.py "${step[@]}" \
    --cfg-options model.compile_blocks=True --against plain
bench recognition recognition.py --size base "${on[@]}" --batch $clips
[ "$device" = cuda ] || bench data-pipeline data_pipeline.py
exit $failed
