#!/usr/bin/env bash
# What scripts/gpu-visit.sh needs, in target/gpu-kit: at most 60 MiB, for a machine with a GPU,
# PyTorch 2.11.0 and nothing else. What lies in target/cpu-tests goes along.
#
#   GPU_KIT=DIR      where to put it (the folder is made anew)
#   GPU_KIT_BGM=FILE the program to take
set -euo pipefail
cd "$(dirname "$0")/.."
kit=${GPU_KIT:-target/gpu-kit}
rm -rf "$kit"
mkdir -p "$kit"/{benches,examples,specs,data,cpu-tests}
throughput=$(cargo bench --quiet --profile release --features torch --bench throughput --no-run --message-format=json |
    sed -n 's/.*"name":"throughput".*"executable":"\([^"]*\)".*/\1/p' | tail -n1)
[ -x "$throughput" ] || { echo "gpu-kit: the benchmark was not built" >&2; exit 70; }
[ -n "${GPU_KIT_BGM:-}" ] || cargo build --release --quiet --features torch
strip -o "$kit"/bgm "${GPU_KIT_BGM:-target/release/bgm}"
strip -o "$kit"/throughput "$throughput"
cp benches/pytorch_baseline.py "$kit"/benches/
cp examples/{networks,crosscheck,replay_trace}.py "$kit"/examples/
cp scripts/gpu-visit/*.json "$kit"/specs/
cp scripts/gpu-visit.sh "$kit"/
cp -r paper_tables expected "$kit"/
cp -r data/fashion-mnist-subset "$kit"/data/
for file in target/cpu-tests/*; do
    [ ! -x "$file" ] || strip -o "$kit/cpu-tests/$(basename "$file")" "$file" 2>/dev/null ||
        cp "$file" "$kit"/cpu-tests/
done
size=$(du -sm --apparent-size "$kit" | cut -f1)
[ "$size" -le 60 ] || { echo "gpu-kit: $size MiB are more than the 60 that can be carried" >&2; exit 1; }
echo "$kit: $size MiB" >&2
