#!/usr/bin/env bash
# What travels light. Builds an archive of HEAD without .git, with no C++ compiler and no Python on
# the PATH and without libtorch; copies the binary alone into an empty folder and runs it there
# with no environment at all, with declarations and data given by options: the smoke profile, its
# report again from exported records, and one of its runs trained again.
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/sources" "$place/bin" "$place/alone"
git archive HEAD | tar -x -C "$place/sources"

# A PATH of its own: what a build needs, and nothing else.
for tool in cargo rustc rustup cc gcc ld as ar bash sh env make dirname cut sort head; do
    found=$(command -v "$tool") && ln -s "$(readlink -f "$found")" "$place/bin/$tool"
done
# The toolchain is found by these; rustup's proxies go by the name that they are called by.
clean=(env -i "PATH=$place/bin" "HOME=$HOME" "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}"
    "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}" "CARGO_TARGET_DIR=$repository/target/archive")
for absent in g++ c++ python3 git; do
    if "${clean[@]}" bash -c "command -v $absent" > /dev/null; then
        echo "archive-test: $absent is on the PATH of the test" >&2
        exit 70
    fi
done
"${clean[@]}" make --no-print-directory -C "$place/sources" build TORCH=no
cp target/archive/release/bgm "$place/alone/bgm"
mkdir "$place/given"
cp -r "$place/sources"/{paper_tables,expected,data} "$place/given"

cd "$place/alone"
bgm=(env -i ./bgm --tables ../given/paper_tables --expected ../given/expected --data ../given/data)
"${bgm[@]}" --profile smoke doctor | tee doctor.txt
grep -q "commit     unknown: built outside of git" doctor.txt
grep -q "self-test  passed" doctor.txt
"${bgm[@]}" --profile smoke --quiet reproduce
test -s reproduction/report.html
"${bgm[@]}" --quiet store export --out records.tar.gz
"${bgm[@]}" --profile smoke --store empty report --records records.tar.gz --out from_records
grep -q "These are records" from_records/report.html
"${bgm[@]}" --profile smoke --store empty check --sample 1 --records records.tar.gz
echo "archive-test: passed"
