#!/usr/bin/env bash
# Criterion's measurements of this program in turn with the program of the last run, and the
# machine's limit: ends with 1 if something is slower beyond noise. Wants idle cores.
#
# The first run compares nothing: run it before a change, and again after it. A program takes the
# place of the last one if all was compared and nothing is slower, or may be.
#
#   FILTER=step   only the benchmarks whose name this regular expression matches
#   ROUNDS=20     rounds of both programs
#   NOISE=0.03    a relative change that says nothing
#   SAVE=yes      keep this program for the next comparison, and end with 0, whatever comes of it
#   LIMIT=no      without the matrix product and the full-width network
set -euo pipefail
cd "$(dirname "$0")/.."
[ -z "${NOISE:-}" ] || export BENCH_NOISE="$NOISE"
[ -z "${ROUNDS:-}" ] || export BENCH_ROUNDS="$ROUNDS"
[ -z "${LIMIT:-}" ] || export BENCH_LIMIT="$LIMIT"
[ -z "${SAVE:-}" ] || export BENCH_SAVE="$SAVE"
exec cargo bench --quiet --profile release --features torch,download --bench training -- ${FILTER:+"$FILTER"}
