#!/usr/bin/env bash
# Images a second of each network on one device, ours and PyTorch's. Arguments go on to the
# benchmark. Wants an idle device.
#
#   NETWORK=resnet18   only networks whose name holds this
#   STEPS=50           steps that are timed together
#   PYTORCH=no         without PyTorch's side, which needs an environment of 4.9 GB
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
