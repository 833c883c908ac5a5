#!/usr/bin/env bash
# A profile through a real Slurm cluster and through Snakemake's local executor, with jobs
# that are killed, sent back to the queue and lose their node on the way: verification is
# green and every hash is that of `bgm reproduce`. On Debian, as root. It starts everything it
# needs in a temporary folder, and stops it again.
#
#   PROFILE=calibration  ONLY=fig1_toy,...  SEEDS=3   what is run: jobs of some seconds, which is
#                   long enough to be killed
#   REFERENCE=DIR   the store to compare with (default: target/cluster-reference, where
#                   `bgm reproduce` makes what is missing); its numbers are blessed for the test
#   KEEP=1          leave the stores and logs where they are
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bgm=${BGM:-$root/target/release/bgm}
options=(--profile "${PROFILE:-calibration}" ${ONLY:+--only "$ONLY"} --seeds "${SEEDS:-3}")
# Jobs estimated to take longer than this stand alone.
group_below=${GROUP_BELOW:-4}
source scripts/cluster/slurm.sh

complain() {
    echo "cluster-test: $*" >&2
    exit 4
}
[ "$(id -u)" = 0 ] || complain "run it as root: Slurm's daemons start jobs for others"
[ -x "$bgm" ] || complain "no $bgm: run \`make build\` first"
if ! command -v slurmctld slurmd sbatch munged >/dev/null; then
    command -v apt-get >/dev/null || complain "install slurmctld, slurmd, the Slurm client and munge; only on Debian and Ubuntu does this script do it itself"
    echo "cluster-test: installing slurm-wlm and munge ..." >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null ||
        complain "apt-get install slurm-wlm munge failed"
fi
env=$root/.cluster/env
if ! cmp -s scripts/cluster/requirements.txt "$env/requirements.txt"; then
    echo "cluster-test: installing Snakemake into .cluster/env ..." >&2
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || complain "Snakemake needs Python 3.11 or newer"
    rm -rf "$env"
    python3 -m venv "$env" || complain "apt-get install python3-venv"
    "$env/bin/pip" install -q -r scripts/cluster/requirements.txt
    cp scripts/cluster/requirements.txt "$env/requirements.txt"
fi
PATH=$env/bin:$PATH

work=$(mktemp -d /tmp/bgm-cluster.XXXXXX)
mkdir "$work/expected"
: >"$work/expected/claims.toml" # numbers alone
options+=(--expected "$work/expected")
snakemake=
finish() {
    local code=$?
    [ -n "$snakemake" ] && kill "$snakemake" 2>/dev/null
    slurm_stop
    # A killed job's inner snakemake outlives it where Slurm tracks processes by their group.
    pkill -KILL -f -- "$work/" || true
    if [ -n "${KEEP:-}" ] || [ $code != 0 ]; then
        echo "cluster-test: stores, plans and logs are in $work" >&2
    else
        rm -rf "$work"
    fi
}
trap finish EXIT
trap 'exit 130' INT TERM

passed=0 failed=0 table=()
check() { # what, then a command that must succeed
    local what=$1 begin=$SECONDS
    shift
    if "$@" >"$work/check.log" 2>&1; then
        passed=$((passed + 1))
        table+=("passed  $what")
    else
        failed=$((failed + 1))
        table+=("FAILED  $what")
        tail -n 20 "$work/check.log" >&2
    fi
    echo "${table[-1]}  ($((SECONDS - begin)) s)" >&2
}
equal_stores() { "$bgm" "${options[@]}" --device cpu diff "$1" "$2"; }
plan() { # name
    "$bgm" --quiet "${options[@]}" --device cpu --store "$work/$1/runs" plan \
        --format snakemake --out "$work/$1/plan" --group-below "$group_below"
}
verified() { "$bgm" "${options[@]}" --device cpu --store "$1" verify; }

# ------------------------------------------------------------------ what is compared with
# Trains only what is not there.
reference=${REFERENCE:-target/cluster-reference}
made_and_blessed() {
    # 3: nothing is blessed yet.
    "$bgm" --quiet "${options[@]}" --device cpu --store "$reference" \
        reproduce --out "$work/reproduction" || [ $? = 3 ] || return 1
    "$bgm" "${options[@]}" --device cpu --store "$reference" bless --reason cluster-test --write
}
check "bgm reproduce on this machine, to compare with" made_and_blessed

# --------------------------------------------------------------------------------- Slurm
slurm_start "$work/slurm-home"
check "slurmctld and two slurmd are up" test "$(sinfo -h -N | wc -l)" = 2
store=$work/slurm/runs
plan slurm
begin=$SECONDS
(cd "$work/slurm/plan" && exec snakemake --profile profiles/slurm --latency-wait 10 \
    --group-components short=6 --slurm-init-seconds-before-status-checks 3 \
    --slurm-status-command squeue --slurm-keep-successful-logs --slurm-no-account \
    --config run_options="--checkpoint-seconds 0.2") >"$work/slurm/log" 2>&1 &
snakemake=$!

epoch_of() { # checkpoint: epochs trained, in its header
    grep -aom1 'key\\":\\"[0-9a-f]*\\",\\"epoch\\":[0-9]*' "$1" 2>/dev/null | head -n1 | sed 's/.*://'
}
running() { # key: the Slurm job that is at work on it
    squeue -h -t R -o '%i %k' | awk -v key="$1" 'index($2, key) { print $1; exit }'
}
# Sets key, job and reached: a run that has a checkpoint and that a job is at work on.
victim() { # key that is not taken again
    for _ in $(seq 1200); do
        kill -0 "$snakemake" 2>/dev/null || return 1
        for file in "$store"/*.partial/checkpoint.safetensors; do
            key=$(basename "$(dirname "$file")" .partial)
            [ "$key" != "${1:-}" ] || continue
            reached=$(epoch_of "$file")
            job=$(running "$key")
            [ -n "$job" ] && [ "${reached:-0}" -gt 0 ] && return 0
        done
        sleep 0.1
    done
    return 1
}
# Lets the job that takes a run up again begin next: the test has not to wait for the queue.
prefer() { # key
    local job
    job=$(squeue -h -t PD -o '%i %k' | awk -v key="$1" 'index($2, key) { print $1; exit }')
    [ -z "$job" ] || scontrol update jobid="$job" nice=-1000 2>/dev/null || true
}
# After it was stopped, the first checkpoint that changes must be of a later epoch. 2: it ended
# before there was another one, which tells nothing.
resumes() { # key, epoch reached
    local file=$store/$1.partial/checkpoint.safetensors now until=$((SECONDS + 1800)) turn=0
    while [ $SECONDS -lt $until ]; do
        [ -d "$store/$1" ] && return 2
        now=$(epoch_of "$file")
        if [ -n "$now" ] && [ "$now" != "$2" ]; then
            echo "stopped at epoch $2, then at epoch $now"
            [ "$now" -gt "$2" ]
            return
        fi
        [ $((turn++ % 50)) != 0 ] || prefer "$1"
        sleep 0.05
    done
    return 1
}
stopped() { # job: waits until it no longer runs
    for _ in $(seq 200); do
        [ -z "$(squeue -h -t R,CG -j "$1" 2>/dev/null)" ] && return 0
        sleep 0.1
    done
    return 1
}
hit() { # what, then the command that stops the job
    local what=$1 at code=1
    shift
    for _ in 1 2 3; do
        victim "${key:-}" || break
        "$@" "$job" || break
        stopped "$job" || break
        at=$(epoch_of "$store/$key.partial/checkpoint.safetensors")
        code=0
        resumes "$key" "$at" || code=$?
        [ $code = 2 ] || break
    done
    check "$what: job ${job:-none}, run ${key:0:12} goes on from epoch ${at:-none}" test $code = 0
}
down() { # job: its node goes down, and comes back
    node=$(squeue -h -o %N -j "$1")
    scontrol update nodename="$node" state=down reason="cluster-test"
}
hit "a job is killed (scancel --signal=KILL)" scancel --signal=KILL
hit "a job is requeued (scontrol requeue)" scontrol requeue
node=
victim "${key:-}" && check "a node goes down under a job" down "$job"
if [ -n "$node" ]; then
    sleep 5
    check "what the node ran is queued again or runs elsewhere" \
        test -n "$(squeue -h -t PD,R -j "$job" -o %T)"
    check "the node comes back" scontrol update nodename="$node" state=resume
fi
code=0
wait "$snakemake" || code=$?
snakemake=
check "snakemake with Slurm's executor ends without an error ($((SECONDS - begin)) s)" test $code = 0
[ $code = 0 ] || tail -n 30 "$work/slurm/log" >&2
check "Slurm: verification is green" verified "$store"
check "Slurm: every hash as on this machine" equal_stores "$reference" "$store"
check "Slurm: the report is there" test -s "$work/slurm/plan/report/report.html"
check "Slurm: no run was found damaged" test ! -e "$store/damaged"
slurm_stop

# -------------------------------------------------------- a plan of a store that is finished
rm -rf "$work/slurm/plan/done"
plan slurm
jobs=$(find "$work/slurm/plan/done" -type f | wc -l)
check "planned again, all $jobs jobs are seen as done" \
    test "$jobs" = "$(find "$work/slurm/plan/jobs" -type f | wc -l)"

# --------------------------------------------------------------------- the local executor
plan local
begin=$SECONDS
check "snakemake with its local executor ends without an error" env -C "$work/local/plan" \
    snakemake --profile profiles/local --cores "$(nproc)"
echo "local executor: $((SECONDS - begin)) s" >&2
check "local: verification is green" verified "$work/local/runs"
check "local: every hash as on this machine" equal_stores "$reference" "$work/local/runs"

printf '\n'
printf '%s\n' "${table[@]}"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
