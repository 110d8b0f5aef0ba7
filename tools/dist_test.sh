#!/usr/bin/env bash
# Test on several GPUs (or, without any, with several CPU processes):
#     bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# On several nodes: NNODES, NODE_RANK, MASTER_ADDR and PORT as dist_train.sh.
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS_PER_NODE [arguments of test.py]" >&2
    exit 2
fi
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CONFIG=$1
CHECKPOINT=$2
GPUS=$3

if [ "${NNODES:-1}" != 1 ]; then # without these they wait for each other
    : "${NODE_RANK:?give it with NNODES=$NNODES: 0 on the first node, then 1 ...}"
    : "${MASTER_ADDR:?give it with NNODES=$NNODES: the name of the first node}"
fi

PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" \
exec "${PYTHON:-python}" "$TOOLS/torchrun.py" \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
