#!/usr/bin/env bash
# Learn what a GPU has to tell in a few minutes, on a machine without a network.
#   bash tools/benchmarks/gpu.sh --download [WHEELS]   before, with a network: fetch the packages
#   bash tools/benchmarks/gpu.sh [--minutes 7] [--out FOLDER] [--only PART ...]
#   bash tools/benchmarks/gpu.sh --rehearse            the same on CPUs, in tiny sizes
# Needs PyTorch, torchvision, NumPy, OpenCV, matplotlib and scikit-learn there; pytest for the first part. WHEELS
# (default: tools/benchmarks/wheels) holds the rest, for Python 3.12 on x86-64 or PY=3.11 and so on.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
python=${PYTHON:-python3}
wheels=${WHEELS:-$here/wheels}
# Their versions are those of requirements/base.txt.
names='mmengine|mmcv-lite|mmaction2|mmpretrain|av|addict|einops|importlib_metadata|lazy-importer|mat4py'
names+='|model-index|modelindex|ordered-set|platformdirs|termcolor|yapf|zipp|rich|Markdown|click|safetensors'

if [ "${1:-}" = --download ]; then
    wheels=${2:-$wheels}
    grep -E "^($names)==" "$root/requirements/base.txt" | sed 's/ *#.*//' |
        "$python" -m pip download --no-deps --only-binary=:all: --python-version "${PY:-3.12}" \
            --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
            --dest "$wheels" -r /dev/stdin
    du -sh "$wheels"
    exit
fi

if [ -d "$wheels" ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
    export PYTHONPATH=$site
fi
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
"$python" "$here/gpu.py" "$@"
