#!/usr/bin/env bash
# The engine under AddressSanitizer, with a nightly compiler: every kernel that this processor
# has, on one thread and two, over the networks of tests/engine.lock, random networks and random
# graphs of layers. A read or write outside of an allocation, or after it was freed, ends the
# test. (tests/engine_guard.rs looks for the same with any compiler, by guard pages.)
#
# SANITIZE_TOOLCHAIN: another toolchain than `nightly`.
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${SANITIZE_TOOLCHAIN:-nightly}
if ! cargo "+$toolchain" --version > /dev/null 2>&1; then
    echo "make sanitize needs the Rust toolchain '$toolchain': rustup toolchain install nightly," >&2
    echo "or SANITIZE_TOOLCHAIN=NAME" >&2
    exit 4
fi
target=$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')
# With --target, build scripts and macros are compiled without the sanitizer.
RUSTFLAGS="-Zsanitizer=address" cargo "+$toolchain" test --release --target "$target" \
    --target-dir target/sanitize --test engine_bits "$@"
