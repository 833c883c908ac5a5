#!/usr/bin/env bash
# Everything that a machine with a GPU is wanted for, in one command: for a machine that has
# PyTorch 2.11.0 and nothing else, and only for minutes. `make gpu-kit` builds what it needs.
#
#   doctor      determinism of every network at the paper's widths, both precisions, CUDA graphs
#   throughput  images a second beside PyTorch, and the share of the GPU's peak
#   bits        one spec several times, with and without graphs, and two processes at a time
#   replay      beside the next: traces made on the GPU, replayed by plain PyTorch to the last bit
#   seeds       the headline on the GPU, seed by seed until the time is up
#   cpu         beside all of these, on the other cores: what lies in cpu-tests/ of the kit, the
#               smoke profile with AVX-512 and with AVX2, the pilots until the time is up
#
# Each stage has a time limit and a log of its own, and none stops the others. The folder --out
# then holds at most eight files, all of them needed to verify at home: logs, summary.txt, and
# records.tar.gz for `bgm store merge`.
set -uo pipefail

usage() {
    cat <<'TEXT'
usage: gpu-visit.sh [options]
  --out DIR          where logs and records go (default: $OUT, else gpu-visit)
  --kit DIR          what `make gpu-kit` built (default: beside this script, else target/gpu-kit)
  --seconds N        time for all of it (default: 560)
  --only A,B         only these stages
  --device NAME      cuda:0 unless told otherwise
  --python PATH      interpreter that has PyTorch (default: python3)
  --torch DIR        folder of the torch package (default: the interpreter's)
  --tables DIR       tables of the headline, in the kit (default: paper_tables)
  --profile NAME     their profile (default: gpu)
  --seeds A..B       seeds of the headline and of the pilots (default: 1000..1002)
  --together N       how many of the headline's seeds are begun at once (default: 1)
  --jobs N           runs at a time on the GPU (default: 2)
  --cpu-jobs N       runs at a time on the CPU (default: all cores but two)
  --network NAME     throughput of this network alone
  --steps N          steps that throughput times together (default: 20)
  --rows A,B         throughput of these rows of PyTorch alone
  --limit STAGE=N    seconds of a stage (may be repeated)
  --tiny             the smallest sizes, for a dry run on a CPU
TEXT
}
out=${OUT:-gpu-visit} kit= seconds=560 only= device=cuda:0 python=python3 torch= tables=paper_tables
profile=gpu seeds=1000..1002 together=1 jobs=2 cpu_jobs= network= steps=20 rows= tiny=
declare -A limits=([doctor]=100 [replay]=70 [throughput]=150 [bits]=100)
while [ $# -gt 0 ]; do
    case $1 in
        --tiny) tiny=yes ;;
        --help | -h) usage; exit 0 ;;
        --out | --kit | --seconds | --only | --device | --python | --torch | --tables | --profile | \
            --seeds | --together | --jobs | --cpu-jobs | --network | --steps | --rows | --limit)
            [ $# -gt 1 ] || { echo "gpu-visit: $1 wants a value" >&2; exit 2; }
            name=${1#--}
            if [ "$name" = limit ]; then
                limits[${2%%=*}]=${2#*=}
            else
                printf -v "${name//-/_}" %s "$2"
            fi
            shift ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
all_stages="doctor throughput bits replay seeds cpu"
for name in ${only//,/ } "${!limits[@]}"; do
    [[ " $all_stages " == *" $name "* ]] ||
        { echo "gpu-visit: no stage is called '$name': there are $all_stages" >&2; exit 2; }
done
[[ $seeds =~ ^[0-9]+\.\.[0-9]+$ ]] || { echo "gpu-visit: --seeds $seeds: write A..B" >&2; exit 2; }
[[ $together =~ ^[1-9][0-9]*$ ]] || { echo "gpu-visit: --together $together: write a number of seeds" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "$kit" ]; then
    if [ -x "$here/bgm" ]; then kit=$here; else kit=$here/../target/gpu-kit; fi
fi
kit=$(cd "$kit" 2>/dev/null && pwd) && [ -x "$kit/bgm" ] ||
    { echo "gpu-visit: no kit found: make gpu-kit, or --kit DIR" >&2; exit 4; }
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 4
work=$(mktemp -d) || exit 4
trap 'rm -rf "$work"' EXIT
summary=$out/summary.txt
: >"$summary"
say() { printf '%s\n' "$*" | tee -a "$summary"; }
left() { echo $((seconds - SECONDS)); }
size() { if [ -n "$tiny" ]; then echo "$1"; else echo "$2"; fi; } # tiny, otherwise
wanted() { [ -z "$only" ] || [[ ",$only," == *",$1,"* ]]; }

# ----------------------------------------------------------------------------- libtorch
if [ -z "$torch" ]; then
    torch=$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])') ||
        { say "no PyTorch: --python PATH of an interpreter that has it"; exit 4; }
fi
libraries=$torch/lib
for folder in "$torch"/../nvidia/*/lib; do
    [ ! -d "$folder" ] || libraries+=:$folder
done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
has_pytorch=$("$python" -c 'import torch; print(torch.__version__)' 2>/dev/null)
say "machine    $(uname -sr), $(nproc --all) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1)"
say "gpu        $(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null || echo none)"
say "pytorch    ${has_pytorch:-cannot be imported; libtorch alone} in $torch"
missing=$(ldd "$kit/bgm" | grep 'not found')
[ -z "$missing" ] || { say "libraries are missing:"; say "$missing"; exit 4; }
# Without --all, nproc would heed OMP_NUM_THREADS.
cores=$(nproc --all)
cpu_jobs=${cpu_jobs:-$((cores > 2 ? cores - 2 : 1))}

# ------------------------------------------------------------------------- data and tables
# Image files in the kit are decoded while the GPU is busy with what needs none of them.
data=$work/data
cp -r "$kit/data" "$data"
importing=
if [ -e "$kit/cifar-10-jpeg.tar.gz" ]; then
    { begin=$SECONDS
        nice -n 5 "$kit/bgm" --data "$data" --quiet data import cifar-10-jpeg "$kit/cifar-10-jpeg.tar.gz" &&
            say "data      cifar-10-jpeg imported ($((SECONDS - begin)) s)" ||
            say "data      FAILED: cifar-10-jpeg was not imported"; } 2>&1 | tee -a "$work/import.log" &
    importing=$!
fi
precision=tf32
[ "$device" != cpu ] || precision=strict
for name in "paper_tables" "$tables"; do
    mkdir -p "$work/$name"
    cp -r "$kit/$name/." "$work/$name/"
done
# A profile like another, but of sizes that a rehearsal on a CPU can bear.
shrink() { # tables, name, inherits
    local file=$work/$1/profiles/$2.toml
    printf 'inherits = "%s"\nsummary = "A rehearsal."\n' "$3" >"$file"
    [ -n "$tiny" ] || return 0
    cat >>"$file" <<'TOML'
[base.image]
precision = "strict"
[base.image.data.images]
dataset = "fashion-mnist-subset"
train = 64
test = 500
evaluate_on = "test"
pool = 1
[base.image.network]
width = 4
[base.image.pretrain]
batch_size = 16
epochs = 2
[base.image.train]
batch_size = 16
epochs = 3
evaluate_every = 3
[network.resnet50]
"network.width" = 4
[network.vgg16]
"network.width" = 4
[network.densenet40]
"network.width" = 4
TOML
    sed -i -E 's/"train.epochs" = [0-9]+/"train.epochs" = 3/' "$work/$1"/*.toml
}
shrink paper_tables visit gpu
shrink "$tables" visit-headline "$profile"
[ ! -d "$work/paper_tables/pilots" ] || shrink paper_tables/pilots visit-pilots regime
# Nothing that is made here is judged here: no claims, no reference.
mkdir "$work/expected" && : >"$work/expected/claims.toml"
common=("$kit/bgm" --data "$data" --expected "$work/expected")
bgm=("${common[@]}" --engine libtorch --device "$device" --tables "$work/paper_tables" --profile visit)
headline=("${common[@]}" --engine libtorch --device "$device" --tables "$work/$tables" --profile visit-headline --store "$work/runs")
cpu=("${common[@]}" --engine portable --device cpu)

# ------------------------------------------------------------------------------ the stages
# Runs a function in a time limit of its own, with a log of its own.
stage() { # name, seconds
    local name=$1 limit=$2 begin=$SECONDS code
    wanted "$name" || return 0
    [ "$limit" -lt $(($(left) - 8)) ] || limit=$(($(left) - 8))
    if [ "$limit" -lt 10 ]; then
        say "$name      left out: no time"
        return 0
    fi
    export_all
    timeout -k 8 -s INT "$limit" bash -c "set -uo pipefail; $functions; stage_$name $limit" \
        >"$out/$name.log" 2>&1
    code=$?
    case $code in
        0) say "$name      passed ($((SECONDS - begin)) s)" ;;
        124 | 137)
            case $name in
                seeds | cpu) say "$name      ended with the time; whole runs are kept" ;;
                *) say "$name      STOPPED at its limit of $limit s" ;;
            esac ;;
        *) say "$name      FAILED with exit code $code ($((SECONDS - begin)) s), see $name.log" ;;
    esac
}
export_all() {
    functions="$(declare -p bgm headline cpu); $(declare -f stage_doctor stage_throughput stage_bits stage_replay stage_cpu stage_seeds spec once bits_of size)"
    export kit work data device python has_pytorch tiny precision seeds together jobs cpu_jobs network steps rows REPLAYS
}

stage_doctor() {
    "${bgm[@]}" --only table1_accuracy,table1_networks doctor
}

stage_throughput() { # seconds
    local options=(--device "$device" --seconds $(($1 - 8)) --out "$work/throughput.json")
    [ -z "$has_pytorch" ] || options+=(--python "$python")
    [ -z "$rows" ] || options+=(--rows "$rows")
    options+=(--steps "$(size 1 "$steps")" --network "${network:-$(size resnet18 "")}")
    "$kit/throughput" "${options[@]}"
}

# A spec of the kit in a precision, small where sizes are tiny.
spec() { # name, precision
    sed "s/\"precision\": \"[a-z0-9]*\"/\"precision\": \"$2\"/" "$kit/specs/$1.json" |
        if [ -n "$tiny" ]; then
            sed -E 's/"width": [0-9]+/"width": 4/; s/"train": [0-9]+/"train": 70/; s/"test": [0-9]+/"test": 100/; s/"batch_size": [0-9]+/"batch_size": 16/'
        else
            cat
        fi >"$work/$1-$2.json"
    echo "$work/$1-$2.json"
}

# Trains a spec in a store of its own; prints key and result.
once() { # store, spec, options...
    local store=$work/bits/$1 spec=$2
    shift 2
    "${bgm[@]}" "$@" --quiet --store "$store" run "$spec" 2>>"$work/bits.err"
}

stage_bits() {
    local failed=0 one place first
    for one in $precision $([ "$device" = cpu ] || echo strict); do
        local file
        file=$(spec bits "$one")
        place=$one
        first=$(once "$place-1" "$file") || { cat "$work/bits.err"; return 1; }
        echo "$one, once:             $first"
        compare() { # what, result
            if [ "$2" = "$first" ]; then echo "same bits: $one, $1"; else
                echo "OTHER BITS: $one, $1: $2"
                failed=1
            fi
        }
        compare "again" "$(once "$place-2" "$file")"
        compare "no CUDA graphs" "$(once "$place-3" "$file" --no-cuda-graphs)"
        once "$place-4" "$file" >"$work/bits-4" &
        once "$place-5" "$file" >"$work/bits-5"
        wait
        compare "two at a time, one" "$(cat "$work/bits-4")"
        compare "two at a time, the other" "$(cat "$work/bits-5")"
        rm -rf "$work/bits"
    done
    [ ! -s "$work/bits.err" ] || cat "$work/bits.err"
    return $failed
}

# What a line says: network, images, steps, precision. 1,000 images end each epoch with a batch
# of 104, 1,024 have whole batches alone; in TF32 the very kernels of the profile are at work.
REPLAYS="resnet18 1000 30 strict
resnet18 1024 30 tf32
vgg16 1024 30 strict
densenet40 1000 30 strict
resnet50 1000 30 strict"

stage_replay() { # seconds
    local begin=$SECONDS failed=0 file network images steps precision
    while read -r network images steps precision; do
        [ $((SECONDS - begin)) -lt $(($1 - 12)) ] || { echo "== $network, $images images: left out, no time"; continue; }
        [ "$device" != cpu ] || precision=strict
        file=$(spec trace "$precision")
        sed -i "s/\"arch\": \"[a-z0-9]*\"/\"arch\": \"$network\"/" "$file"
        [ -n "$tiny" ] || sed -i "s/\"train\": [0-9][0-9]*/\"train\": $images/" "$file"
        [ "$network" != densenet40 ] || [ -n "$tiny" ] || sed -i 's/"width": [0-9]*/"width": 12/' "$file"
        echo "== $network, $images images, $steps steps, $precision"
        "${bgm[@]}" --store "$work/trace-runs" trace "$file" --steps "$(size 3 "$steps")" \
            --states-every 8 --out "$work/trace.safetensors" || { failed=1; continue; }
        if [ -z "$has_pytorch" ]; then
            echo "no PyTorch to replay it"
            continue
        fi
        "$python" "$kit/examples/replay_trace.py" --device "$device" --exact "$work/trace.safetensors" || failed=1
        [ -z "$tiny" ] || break
    done <<<"$REPLAYS"
    return $failed
}

# Hashes of all weights of a store, by key.
bits_of() { # store
    (cd "$1" && find . -name weights.safetensors -not -path './damaged/*' -print0 | sort -z | xargs -0r sha256sum)
}

stage_cpu() {
    local file simd failed=0 fastest=avx2 kinds=() others=() tests=()
    grep -m1 ^flags /proc/cpuinfo | grep -o 'avx512[a-z_]*' | paste -sd' '
    ! grep -qw avx512f /proc/cpuinfo || fastest=avx512
    for file in "$kit"/cpu-tests/*; do
        [ -x "$file" ] && [ -f "$file" ] || continue
        (cd "$kit" && timeout "$(size 20 400)" "$file" "$(size 1 30)") &
        tests+=($!)
    done
    # Their timings come first, and what follows fills the cores.
    sleep "$(size 0 25)"
    kinds=(avx2)
    [ $fastest = avx2 ] || kinds+=(avx512)
    # The smoke profile by each instruction set: the same weights to the last bit?
    for simd in "${kinds[@]}"; do
        BGM_SIMD=$simd "${cpu[@]}" --tables "$(size "$work/paper_tables" "$kit/paper_tables")" --profile "$(size visit smoke)" \
            --only "$(size table1_accuracy table1_accuracy,fig1_toy)" --seeds "$(size 1 5)" --store "$work/smoke-$simd" --quiet \
            reproduce --jobs $(((cpu_jobs + 1) / 2)) --out "$work/smoke-$simd-out" >"$work/smoke-$simd.log" 2>&1 &
        others+=($!)
    done
    for file in "${others[@]}"; do
        wait "$file"
        echo "smoke: exit code $?"
    done
    for simd in "${kinds[@]}"; do
        bits_of "$work/smoke-$simd" >"$work/smoke-$simd.bits"
        echo "smoke by $simd: $(wc -l <"$work/smoke-$simd.bits") runs, $(sha256sum <"$work/smoke-$simd.bits" | cut -d' ' -f1)"
        tail -n3 "$work/smoke-$simd.log"
        cmp "$work/smoke-avx2.bits" "$work/smoke-$simd.bits" || failed=1
    done
    cat "$work/smoke-avx2.bits"
    # A profile whose bits any CPU gives: its reference is made where there are cores.
    [ -n "$tiny" ] ||
        BGM_SIMD=$fastest nice -n 2 "${cpu[@]}" --tables "$kit/paper_tables" --profile quick --store "$work/quick" --quiet \
            reproduce --jobs "$cpu_jobs" --out "$work/quick-out"
    # What is missing at the end was interrupted, and is not exported.
    [ ! -d "$work/paper_tables/pilots" ] ||
        BGM_SIMD=$fastest nice -n 5 "${cpu[@]}" --tables "$work/paper_tables/pilots" --profile visit-pilots \
            $(size "--only headline_vanilla" "") --seeds "$(size 1000..1001 "$seeds")" --store "$work/runs" \
            reproduce --jobs "$cpu_jobs" --out "$work/pilots"
    case $? in 0 | 1 | 3) ;; *) failed=1 ;; esac
    for file in "${tests[@]}"; do
        wait "$file"
        case $? in 0) ;; 124) echo "a test of cpu-tests was stopped" ;; *) failed=1 ;; esac
    done
    return $failed
}

stage_seeds() {
    local seed end last=${seeds#*..} code=0
    cat "$work/import.log" 2>/dev/null
    for ((seed = ${seeds%..*}; seed < last; seed = end)); do
        local begin=$SECONDS
        end=$((seed + together < last ? seed + together : last))
        "${headline[@]}" --seeds "$seed..$end" reproduce --jobs "$jobs" --out "$work/reproduction"
        # 3: too few seeds for a verdict, which is nothing wrong here. 1: another size than blessed.
        case $? in 0 | 1 | 3) ;; *) code=1 ;; esac
        echo "seeds $seed..$end: $((SECONDS - begin)) s"
        "${headline[@]}" --seeds "$seed..$end" plan
    done
    cat "$work/runs/logs/"* 2>/dev/null
    return $code
}

# ------------------------------------------------------------------------------- one by one
[ -z "$tiny" ] || limits=([doctor]=120 [replay]=120 [throughput]=120 [bits]=120)
background=()
stage cpu 100000 &
background+=($!)
stage doctor "${limits[doctor]}"
stage throughput "${limits[throughput]}"
stage bits "${limits[bits]}"
stage replay "${limits[replay]}" &
background+=($!)
[ -z "$importing" ] || wait "$importing"
stage seeds 100000
wait "${background[@]}"
[ ! -e "$out/throughput.log" ] || grep -E '^peak|images a second|^[a-z].*:$' "$out/throughput.log" | tee -a "$summary"
[ ! -e "$out/replay.log" ] || grep -E '^==|^AGREES|^DIFFERS' "$out/replay.log" | tee -a "$summary"
if [ -d "$work/runs" ]; then
    "$kit/bgm" --store "$work/runs" store export --out "$out/records.tar.gz" 2>&1 | tee -a "$summary"
fi
[ ! -d "$work/quick" ] ||
    "$kit/bgm" --store "$work/quick" store export --out "$out/quick-records.tar.gz" 2>&1 | tee -a "$summary"
say "end        after $SECONDS s"
! grep -qE ' (FAILED|STOPPED)' "$summary"
