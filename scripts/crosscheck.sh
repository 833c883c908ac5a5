#!/usr/bin/env bash
# Computes every blessed verdict again with SciPy, replays traces of every network in plain
# PyTorch and loads stored weights into its classes. Everything happens in .crosscheck/: an
# environment with SciPy, one with the full PyTorch (scripts/pytorch.sh), a store, traces.
#
#   ./scripts/crosscheck.sh verdicts    only the verdicts (Python and 150 MB are enough)
set -euo pipefail
cd "$(dirname "$0")/.."
bgm=./target/release/bgm
place=.crosscheck
mkdir -p "$place"
failed=0
check() { # label, command ...
    local label=$1
    shift
    if "$@" >"$place/log" 2>&1; then
        echo "agrees   $label: $(tail -n1 "$place/log")"
    else
        echo "DIFFERS  $label"
        cat "$place/log"
        failed=1
    fi
}
scipy=$place/scipy
requirements=tests/recompute/requirements.txt
if ! cmp -s "$requirements" "$scipy/requirements.txt"; then
    [ -x "$scipy/bin/pip" ] || python3 -m venv "$scipy"
    "$scipy/bin/pip" install -q -r "$requirements" >&2
    cp "$requirements" "$scipy/requirements.txt"
fi
check "verdicts" "$scipy/bin/python" -B tests/recompute/recompute.py
[ "${1:-}" = verdicts ] && exit $failed
python=$(./scripts/pytorch.sh)
for spec in tests/crosscheck/*.json; do
    name=$(basename "$spec" .json)
    "$bgm" --quiet --device cpu --store "$place/runs" trace "$spec" --steps 50 --states-every 1 --out "$place/$name.safetensors"
    check "50 steps of $name" "$python" -B examples/replay_trace.py --final-tolerance 1e-4 "$place/$name.safetensors"
    key=$("$bgm" --quiet --device cpu --store "$place/runs" run "$spec" | cut -d' ' -f1)
    check "weights of $name" "$python" -B examples/load_weights.py "$place/runs/$key"
done
exit $failed
