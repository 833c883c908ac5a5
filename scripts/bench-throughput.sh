#!/usr/bin/env bash
# Images per second of each network on one device, ours beside PyTorch's (benches/throughput.rs).
# Arguments are passed on to the benchmark (--help lists them). Run `make setup` first; the device must
# be idle.
#
#   NETWORK=TEXT   only networks whose name contains TEXT (resnet18, say)
#   STEPS=N        training steps per timing (default: 50)
#   PYTORCH=no     leave out PyTorch, which is otherwise installed (4.9 GB), or taken from
#                  CROSSCHECK_PYTHON=/path/to/python
set -euo pipefail
cd "$(dirname "$0")/.."
options=("$@")
if [ "${PYTORCH:-yes}" != no ]; then
    python=$(./scripts/pytorch.sh)
    options+=(--python "$python")
fi
[ -z "${NETWORK:-}" ] || options+=(--network "$NETWORK")
[ -z "${STEPS:-}" ] || options+=(--steps "$STEPS")
exec cargo bench --quiet --profile release --features torch,download --bench throughput -- "${options[@]}"
