#!/usr/bin/env bash
# Runs the benchmarks of training, one after the other, and keeps what they
# print, with date, device, versions and command:
#   bash tools/benchmarks/run_all.sh cuda [FOLDER]     bfloat16
#   bash tools/benchmarks/run_all.sh cpu [FOLDER]      float32, most of an hour
# FOLDER: tools/benchmarks/results/DEVICE-DATE unless given. What is there
# already is not run again. Needs the core only: mmcv-lite will do, and neither
# mmdet nor a video decoder is needed (but for data_pipeline.py).
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
device=${1:-}
case $device in cuda | cpu) ;; *)
    sed -n '2,/^set/{/^#/s/^# \?//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
out=${2:-$here/results/$device-$(date +%Y-%m-%d)}
python=${PYTHON:-python}
configs=$here/../../configs
base=$configs/amd/pretrain/amd_vit-base-p16_vit-large_32xb64-16x4x1-800e_k400.py
small=$configs/amd/pretrain/amd_vit-small-p16_vit-large_32xb64-16x4x1-800e_k400.py
lever=$base # of which the levers are measured
mkdir -p "$out" || exit 1
failed=0

bench() { # bench NAME PROGRAM ARGUMENT...: print to NAME.md in the folder
    local name=$1 program=$2
    shift 2
    [ ! -e "$out/$name.md" ] || return 0
    echo "== $name" >&2
    {
        echo "    python tools/benchmarks/$program ${*//"$configs"/configs}"
        echo
        "$python" "$here/$program" "$@"
    } >"$out/$name.partial" && mv "$out/$name.partial" "$out/$name.md" ||
        { echo "$name failed" >&2; failed=1; }
}

unfused='model.backbone.fused_attention=False
    model.teacher.backbone.fused_attention=False
    model.neck.fused_attention=False model.decoder.fused_attention=False'
if [ "$device" = cuda ]; then
    on=(--device cuda --dtype bf16)
    step=("${on[@]}" --batch 64)
    bench step-base-against-plain pretrain_step.py "$base" "${step[@]}" \
        --against plain
    bench step-base-against-plain-fp16 pretrain_step.py "$base" "${step[@]}" \
        --against plain --plain-dtype fp16
    bench step-base-compiled-against-plain pretrain_step.py "$base" \
        "${step[@]}" --cfg-options model.compile_blocks=True --against plain
    bench step-small-compiled-against-plain pretrain_step.py "$small" \
        "${step[@]}" --cfg-options model.compile_blocks=True --against plain
    bench equality-fp32 pretrain_step.py "$base" --device cuda --batch 16 \
        --against plain
    bench lever-teacher-float32 pretrain_step.py "$base" "${step[@]}" \
        --against model.teacher.dtype=float32
    bench recognition-base recognition.py --size base "${on[@]}" --batch 8
    bench recognition-base-compiled recognition.py --size base "${on[@]}" \
        --batch 8 --compile
    bench levers levers.py "${on[@]}" --batch 64
else
    threads=$(getconf _NPROCESSORS_ONLN)
    on=(--threads "$threads" --repeats 5 --warmup 1)
    step=("${on[@]}" --batch 2)
    bench step-base-against-plain pretrain_step.py "$base" "${step[@]}" \
        --against plain
    bench levers levers.py "${on[@]}"
    bench recognition-base recognition.py --size base "${on[@]}"
    bench recognition-small recognition.py --size small "${on[@]}"
    bench data_pipeline data_pipeline.py
    lever=$configs/amd/pretrain/amd_vit-small-p16_vit-base_32xb64-16x2x1-800e_sthv2.py
    step=("${on[@]}" --batch 1)
fi
# shellcheck disable=SC2086  # words on purpose
bench lever-unfused-attention pretrain_step.py "$lever" "${step[@]}" \
    --loss-steps 2 --against $unfused
bench lever-unfused-adamw pretrain_step.py "$lever" "${step[@]}" \
    --loss-steps 2 --against optim_wrapper.optimizer.type=mmengine.AdamW
bench lever-compile pretrain_step.py "$lever" "${step[@]}" --loss-steps 2 \
    --cfg-options model.compile_blocks=True \
    --against model.compile_blocks=False
echo "$out"
exit $failed
