#!/usr/bin/env bash
# Everything that wants a GPU, in one command: see benchmarks/gpu.py, which says what it measures and what it takes.
#
#   benchmarks/gpu.sh [--minutes 9] [--out gpu-results] [--parts step augment] [--rehearse]
#
# PYTHON says which interpreter; torch, torchvision, OpenCV and pytest must be there. Of what else is needed, wheels in
# the folder .whl (or WHEELS) are installed into a temporary folder first: benchmarks/gpu_wheels.txt lists them. Nothing is
# fetched from anywhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
wheels=${WHEELS:-.whl}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if compgen -G "$wheels/*.whl" >/dev/null && [[ " $* " != *" --rehearse "* ]]; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl ||
    echo "the wheels in $wheels could not be installed: parts that want them will fail" >&2
fi
export PYTHONPATH="$PWD/src:$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"$python" benchmarks/gpu.py "$@"
