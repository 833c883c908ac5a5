#!/usr/bin/env bash
# Criterion's measurements, the machine's limit beside them, a comparison with the last run:
# ends with 1 if something is slower beyond noise. Wants idle cores.
#
#   FILTER=step   only the benchmarks whose name holds this
#   LIMIT=no      without the matrix product and the full-width network
#   NOISE=0.10    a relative change of the median that says nothing
#   SAVE=yes      take this run as the new baseline even if something is slower
set -euo pipefail
cd "$(dirname "$0")/.."
[ -z "${NOISE:-}" ] || export BENCH_NOISE="$NOISE"
[ -z "${LIMIT:-}" ] || export BENCH_LIMIT="$LIMIT"
[ -z "${SAVE:-}" ] || export BENCH_SAVE="$SAVE"
exec cargo bench --quiet --profile release --bench training -- \
    --baseline-lenient last ${FILTER:+"$FILTER"}
