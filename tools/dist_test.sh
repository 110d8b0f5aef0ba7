#!/usr/bin/env bash
# Test with several processes on one or more nodes:
#     bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
#     NNODES=4 NODE_RANK=0 MASTER_ADDR=first-node bash tools/dist_test.sh ...    # on each node
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS_PER_NODE [arguments of test.py]" >&2
    exit 2
fi
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Without an active environment: .venv
PYTHON=${PYTHON:-$("$(command -v python || echo python3)" "$TOOLS/_venv.py")} || exit 1

PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" \
exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$3" \
    "$TOOLS/test.py" "$1" "$2" --launcher pytorch "${@:4}"
