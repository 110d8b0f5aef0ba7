#!/usr/bin/env bash
# Test through Slurm:
#     [GPUS=32] [GPUS_PER_NODE=8] [CPUS_PER_TASK=16] [SRUN_ARGS=...] \
#         bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments]
if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" >&2
    exit 2
fi
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
if [ "$GPUS" -lt "$GPUS_PER_NODE" ]; then GPUS_PER_NODE=$GPUS; fi
# Jobs on the same node must not share a port.
export MASTER_PORT=${MASTER_PORT:-$((12000 + RANDOM % 20000))}
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"

# SRUN_ARGS is several words on purpose.
# shellcheck disable=SC2086
exec srun -p "$1" \
    --job-name="$2" \
    --gres=gpu:"$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-16}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$TOOLS/test.py" "$3" "$4" --launcher slurm "${@:5}"
