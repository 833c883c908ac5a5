#!/usr/bin/env bash
# Fuzzes every parser for a number of executions each: FUZZ_RUNS (default 1,400,000), only
# the targets of FUZZ_TARGETS if given. What is found is written to fuzz/artifacts/. A summary
# (executions, coverage) ends in fuzz/corpus/summary.txt.
#
# Needs cargo-fuzz (installed into fuzz/target/tools if it is not there) and no nightly
# toolchain: RUSTC_BOOTSTRAP=1 lets the stable compiler take the flags for coverage.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${FUZZ_RUNS:-1400000}
targets=${FUZZ_TARGETS:-$(ls fuzz/fuzz_targets | sed 's/\.rs$//')}
sanitizer=${FUZZ_SANITIZER:-none}
export RUSTC_BOOTSTRAP=1
export PATH="$PWD/fuzz/target/tools/bin:$PATH"

if ! command -v cargo-fuzz > /dev/null; then
    cargo install cargo-fuzz --locked --root fuzz/target/tools
fi
cargo fuzz build --sanitizer "$sanitizer"
mkdir -p fuzz/corpus
summary=fuzz/corpus/summary.txt
for target in $targets; do
    corpus=fuzz/corpus/$target
    mkdir -p "$corpus"
    dictionary=()
    if [ -f "fuzz/dictionaries/$target.dict" ]; then
        dictionary=(-dict="fuzz/dictionaries/$target.dict")
    fi
    log=fuzz/corpus/$target.log
    # Slow targets (images, unpacking) get a tenth.
    case $target in image|archive) count=$((runs / 10)) ;; *) count=$runs ;; esac
    cargo fuzz run --sanitizer "$sanitizer" "$target" "$corpus" "fuzz/seeds/$target" -- \
        -runs="$count" -max_len=4096 -rss_limit_mb=1024 -timeout=60 -print_final_stats=1 \
        "${dictionary[@]}" 2> "$log" || { tail -40 "$log"; exit 1; }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(grep -o 'cov: [0-9]* ft: [0-9]* corp: [0-9]*' "$log" | tail -1)
    memory=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    echo "$target: $executions executions, $coverage, at most $memory MiB" | tee -a "$summary"
done
