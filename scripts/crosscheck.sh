#!/usr/bin/env bash
# Replays traces of every network in plain PyTorch and loads stored weights into its classes.
# Everything happens in .crosscheck/: an environment with the full PyTorch (scripts/pytorch.sh),
# a store, traces.
set -euo pipefail
cd "$(dirname "$0")/.."
bgm=./target/release/bgm
place=.crosscheck
python=$(./scripts/pytorch.sh)
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
for spec in tests/crosscheck/*.json; do
    name=$(basename "$spec" .json)
    "$bgm" --quiet --device cpu --store "$place/runs" trace "$spec" --steps 50 --out "$place/$name.safetensors"
    check "50 steps of $name" "$python" -B examples/replay_trace.py "$place/$name.safetensors"
    key=$("$bgm" --quiet --device cpu --store "$place/runs" run "$spec" | cut -d' ' -f1)
    check "weights of $name" "$python" -B examples/load_weights.py "$place/runs/$key"
done
exit $failed
