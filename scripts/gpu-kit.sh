#!/usr/bin/env bash
# What scripts/gpu-visit.sh needs, in target/gpu-kit: at most 60 MiB, for a machine with a GPU,
# PyTorch 2.11.0 and nothing else. Whatever programs lie in target/cpu-tests go along.
#
#   GPU_KIT=DIR          where to put it (the folder is made anew)
#   GPU_KIT_BGM=FILE     the program to take, if not one to be built now; it needs libtorch
#   GPU_KIT_CIFAR=FILE   an archive of cifar-10-jpeg, to be imported there
set -euo pipefail
cd "$(dirname "$0")/.."
kit=${GPU_KIT:-target/gpu-kit}
rm -rf "$kit"
mkdir -p "$kit"/{benches,examples,specs,data,cpu-tests}
# The program of the kit leaves out the files that lie beside it there.
[ -n "${GPU_KIT_BGM:-}" ] || export BGM_BARE=1
# In one call: what a bench or an example asks of shared dependencies would else compile the
# library twice.
built=$(cargo build --quiet --release --features torch,download --message-format=json \
    --bin bgm --bench throughput --example engine_bits)
program() { # name
    local file
    file=$(sed -n "s/.*\"name\":\"$1\".*\"executable\":\"\([^\"]*\)\".*/\1/p" <<<"$built" | tail -n1)
    [ -x "$file" ] || { echo "gpu-kit: $1 was not built" >&2; exit 70; }
    echo "$file"
}
bgm=${GPU_KIT_BGM:-$(program bgm)}
throughput=$(program throughput)
bits=$(program engine_bits)
strip -o "$kit"/bgm "$bgm"
strip -o "$kit"/throughput "$throughput"
cp benches/pytorch_baseline.py "$kit"/benches/
cp examples/{networks,crosscheck,replay_trace,trace_file}.py "$kit"/examples/
cp scripts/gpu-visit/*.json "$kit"/specs/
cp scripts/gpu-visit.sh "$kit"/
cp -r paper_tables "$kit"/
# The pool is what `quick` and `libtorch` train on.
cp -r data/fashion-mnist-subset data/fashion-mnist-pool "$kit"/data/
[ -z "${GPU_KIT_CIFAR:-}" ] || cp "$GPU_KIT_CIFAR" "$kit"/cifar-10-jpeg.tar.gz
strip -o "$kit"/cpu-tests/engine_bits "$bits"
for file in target/cpu-tests/*; do
    [ ! -x "$file" ] || strip -o "$kit/cpu-tests/$(basename "$file")" "$file" 2>/dev/null ||
        cp "$file" "$kit"/cpu-tests/
done
size=$(du -sm --apparent-size "$kit" | cut -f1)
[ "$size" -le 60 ] || { echo "gpu-kit: $size MiB are more than the 60 that can be carried" >&2; exit 1; }
echo "$kit: $size MiB" >&2
