#!/usr/bin/env bash
# AMD's main job on small real videos, in minutes; see usage() below.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
    cat <<'TEXT'
Usage: bash tools/quickstart.sh [options]

Makes small videos whose classes can only be told from motion, pre-trains a
tiny teacher on them (VideoMAE), distils a tinier student from it (AMD), and
shows what came out: loss curves, a picture of what student and teacher see,
and how well frozen features tell the motions apart, against the same student
trained by VideoMAE alone and with random weights. About six minutes on two CPU
cores, after the installation, which it does as well if need be.

Options:
  --videos DIR   pre-train on the videos in DIR too (small excerpts of at most
                 256 of them)
  --fine-tune    also fine-tune the students with few labels, from AMD, from
                 VideoMAE and from scratch, and test them (minutes more)
  --seeds N ...  repeat everything with these seeds and show mean and spread
                 (default: 0)
  --out DIR      where everything goes (default: work_dirs/quickstart)
  --help         this text

Interrupted, the same command goes on where it stopped; what is finished is
not done again.
TEXT
}

stop() {
    printf 'quickstart.sh: %s\n' "$*" >&2
    exit 2
}

arguments=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --videos | --out)
        [ $# -ge 2 ] || stop "$1 needs a folder; see --help."
        [ "$1" = --out ] || [ -d "$2" ] || stop "--videos: $2 is no folder."
        shift
        ;;
    --fine-tune) ;;
    --seeds)
        [[ ${2:-} =~ ^[0-9]+$ ]] || stop '--seeds needs numbers; see --help.'
        while [[ ${2:-} =~ ^[0-9]+$ ]]; do shift; done
        ;;
    *) stop "unknown option $1; see --help." ;;
    esac
    shift
done

bash "$root/tools/install.sh" --again || exit 1
python=${VIRTUAL_ENV:-$root/.venv}/bin/python
exec "$python" "$root/tools/quickstart/quickstart.py" "${arguments[@]+"${arguments[@]}"}"
