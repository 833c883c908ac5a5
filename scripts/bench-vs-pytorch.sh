#!/usr/bin/env bash
# This program against a PyTorch baseline, in turn; the last line is JSON with the ratios.
# Wants idle cores.
#
#   ROUNDS=5        rounds of step, epoch and corruption
#   PROFILE=quick   whose headline; with smoke it is a trial of a minute
#   SEEDS=2         seeds of the headline
#   JOBS=2          runs of the headline at a time, ours (default: a core each)
#   PARTS=step,epoch,corruption,peak,headline,parallel
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(./scripts/pytorch.sh)
options=(--python "$python")
[ -z "${ROUNDS:-}" ] || options+=(--rounds "$ROUNDS")
[ -z "${PROFILE:-}" ] || options+=(--profile "$PROFILE")
[ -z "${SEEDS:-}" ] || options+=(--seeds "$SEEDS")
[ -z "${JOBS:-}" ] || options+=(--jobs "$JOBS")
[ -z "${PARTS:-}" ] || options+=(--parts "$PARTS")
exec cargo bench --quiet --profile release --features torch,download --bench versus -- "${options[@]}"
