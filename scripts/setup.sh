#!/usr/bin/env bash
# Brings libtorch into the repository's folder (pip keeps its downloads in its own cache too).
# Called by `make`; a second call finds the stamp and ends at once.
#
#   TORCH_PYTHON=/path/to/python   use the PyTorch 2.11.0 of that interpreter instead
#   BGM_TORCH=small|full           small: the wheel's libraries and the two of CUDA's that they are
#                                  linked with even on a CPU; full: all of NVIDIA's packages too
#                                  (default: the interpreter or the full set of an earlier call;
#                                  else full if there is an NVIDIA GPU, small otherwise)
#
# With the argument `rust` it only looks whether the Rust toolchain is there: without libtorch
# nothing else is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH=2.11.0
SMALL_EXTRAS=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
# The wheel is unpacked for its libraries alone, so its Python version need not be ours.
WHEEL_PYTHON=3.12

missing=()
need() { # command, package, purpose
    command -v "$1" >/dev/null 2>&1 || missing+=("  $1 ($3): apt-get install $2")
}
need cargo "rustup, or see https://rustup.rs; Rust 1.89 or newer is needed" "the Rust toolchain"
need cc gcc "the linker"
need_python() {
    if [ -n "${TORCH_PYTHON:-}" ]; then
        command -v "$TORCH_PYTHON" >/dev/null 2>&1 || missing+=("  TORCH_PYTHON=$TORCH_PYTHON: no such interpreter")
    elif ! command -v python3 >/dev/null 2>&1; then
        missing+=("  python3 3.9 or newer (installs libtorch): apt-get install python3 python3-venv")
    elif ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
        missing+=("  python3 3.9 or newer (found $(python3 --version)): install a newer one")
    elif ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
        missing+=("  python3's venv module (installs libtorch): apt-get install python3-venv")
    fi
}
if [ "${1:-}" != rust ]; then
    need c++ g++ "a C++ compiler"
    need_python
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: these are missing, nothing has been started:" >&2
    printf '%s\n' "${missing[@]}" >&2
    exit 4
fi
rust=$(cargo --version 2>/dev/null | cut -d' ' -f2) || {
    echo "setup: cargo does not run: rustup default stable" >&2
    exit 4
}
if [ "$(printf '%s\n' 1.89.0 "$rust" | sort -V | head -n1)" != 1.89.0 ]; then
    echo "setup: Rust $rust is too old, 1.89 or newer is needed: rustup update" >&2
    exit 4
fi
[ "${1:-}" != rust ] || exit 0

was=$(cat .setup-stamp 2>/dev/null || true)
case "${BGM_TORCH:-}" in
    "" | small | full) ;;
    *) echo "setup: BGM_TORCH=$BGM_TORCH: choose small or full" >&2; exit 2 ;;
esac
if [ -n "${TORCH_PYTHON:-}" ]; then
    choice="python $TORCH_PYTHON"
elif [ -n "${BGM_TORCH:-}" ]; then
    choice="$BGM_TORCH"
elif [ "${was#"torch $TORCH, python "}" != "$was" ]; then
    choice="${was#"torch $TORCH, "}"
elif [ -e /dev/nvidiactl ] || [ -e /dev/nvidia0 ] || [ "$was" = "torch $TORCH, full" ]; then
    choice=full
else
    choice=small
fi
stamp="torch $TORCH, $choice"
version_of() { sed -n "s/^__version__ = '\([0-9.]*\).*/\1/p" "$1/version.py" 2>/dev/null; }

# An interpreter's PyTorch may have been upgraded in place.
if [ -e .libtorch/lib/libtorch.so ] && [ "$was" = "$stamp" ] && [ "$(version_of .libtorch)" = "$TORCH" ]; then
    exit 0
fi

if [ "${choice#python }" != "$choice" ]; then
    python=${choice#python }
    folder=$("$python" - <<'PY'
import importlib.util
spec = importlib.util.find_spec("torch")
print(spec.submodule_search_locations[0] if spec else "")
PY
    )
    found=$([ -z "$folder" ] || version_of "$folder" || true)
    if [ "$found" != "$TORCH" ]; then
        echo "setup: TORCH_PYTHON=$python has no PyTorch $TORCH (found: ${found:-none})" >&2
        exit 4
    fi
    ln -sfn "$folder" .libtorch
else
    echo "setup: libtorch $TORCH ($choice set) into .torch/ ..." >&2
    # Its scripts name the folder where it was made; the repository may have been moved.
    .venv/bin/python -m pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv
    pip=(.venv/bin/python -m pip install -q)
    machine=$(uname -m)
    target=(--target .torch.partial --only-binary=:all: --python-version "$WHEEL_PYTHON" --implementation cp)
    # With --python-version pip no longer knows which platforms fit this one.
    for glibc in $(seq 17 39); do target+=(--platform "manylinux_2_${glibc}_$machine"); done
    target+=(--platform "manylinux2014_$machine" --platform "linux_$machine")
    rm -rf .torch.partial
    case "$choice" in
        small) "${pip[@]}" "${target[@]}" --no-deps "torch==$TORCH" "${SMALL_EXTRAS[@]}" ;;
        full) "${pip[@]}" "${target[@]}" "torch==$TORCH" ;;
    esac
    rm -rf .torch
    mv .torch.partial .torch
    ln -sfn .torch/torch .libtorch
fi
echo "$stamp" > .setup-stamp
echo "setup: done" >&2
