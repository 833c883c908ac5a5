#!/usr/bin/env bash
# How often the gate goes red for nothing, and how often for a fault: trains the profile
# `calibration` with many seeds and with planted faults (target/calibration/COMMIT), draws 200
# verifications from each pool and prints how they ended (docs/verification.md).
#
#   SEEDS=0..40          the pool of the unchanged program
#   FAULTY=100..108      the seeds of each faulty program
#   FAULTS="a b"         other faults than the graded ones (src/planted.rs has the names)
set -euo pipefail
cd "$(dirname "$0")/.."
seeds=${SEEDS:-0..40}
faulty=${FAULTY:-100..108}
faults=${FAULTS:-weight_decay_off weight_decay_halved weight_decay_doubled momentum_too_low
    rate_up_by_10_percent rate_up_by_30_percent crop_off_by_one flip_too_often
    batch_norm_momentum_doubled one_label_in_fifty}
# Goes on where it was interrupted, but never with the runs of another commit.
place=target/calibration/$(git rev-parse --short HEAD 2>/dev/null || echo archive)
mkdir -p "$place"

# Both programs, the one with faults first: the one in target/release stays without.
cargo build --release --quiet --features planted-faults
cp target/release/bgm "$place/bgm-with-faults"
cargo build --release --quiet --bin bgm --example calibrate

train() { # program, store, seeds
    "$1" --profile calibration --store "$2" --seeds "$3" --device cpu --quiet \
        reproduce --out "$place/report" > "$place/log" 2>&1 || [ $? -eq 3 ] ||
        { cat "$place/log" >&2; exit 1; }
}
train target/release/bgm "$place/pool" "$seeds"
drawn=()
for fault in $faults; do
    BGM_PLANTED_FAULT=$fault train "$place/bgm-with-faults" "$place/$fault" "$faulty"
    drawn+=("${fault//_/ }=$place/$fault" "$faulty")
done
target/release/examples/calibrate calibration "$place/pool" "$seeds" "${drawn[@]}"
