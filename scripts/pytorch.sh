#!/usr/bin/env bash
# Prints the path of a Python with the full PyTorch 2.11.0, safetensors and NumPy, for what
# holds this program against PyTorch (scripts/crosscheck.sh, scripts/bench-vs-pytorch.sh).
# The first call makes an environment in .crosscheck/env: 4.9 GB, since `import torch` needs
# every NVIDIA package that torch depends on, with or without a GPU.
#
#   CROSSCHECK_PYTHON=/path/to/python   use that interpreter instead
set -euo pipefail
cd "$(dirname "$0")/.."
requirements=examples/requirements-crosscheck.txt
environment=.crosscheck/env
if [ -n "${CROSSCHECK_PYTHON:-}" ]; then
    echo "$CROSSCHECK_PYTHON"
    exit 0
fi
# A copy of the requirements is put beside the environment last: one that was interrupted, or
# that is older than the requirements, is brought up to date.
if ! cmp -s "$requirements" "$environment/requirements.txt"; then
    echo "PyTorch: installing into $environment (4.9 GB) ..." >&2
    [ -x "$environment/bin/pip" ] || python3 -m venv "$environment"
    "$environment/bin/pip" install -q -r "$requirements" >&2
    cp "$requirements" "$environment/requirements.txt"
fi
echo "$environment/bin/python"
