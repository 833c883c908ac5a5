#!/usr/bin/env bash
# Everything that a machine with a GPU is wanted for, in one command: for a machine that has
# PyTorch 2.11.0 and nothing else, and only for minutes. `make gpu-kit` builds what it needs.
#
#   doctor      determinism of every network at the paper's widths, both precisions, CUDA graphs
#   throughput  images a second beside PyTorch, and the share of the GPU's peak
#   bits        one spec several times, with graphs, and two processes at a time
#   replay      traces made on the GPU, replayed by plain PyTorch there
#   cpu         what lies in cpu-tests/ of the kit, with AVX-512 and with AVX2
#   seeds       as many whole seeds of the headline as fit into what time is left
#
# Each stage has a time limit and a log of its own, and none stops the others. The folder --out
# then holds at most eight files, all of them needed to verify at home: logs, summary.txt, and
# records.tar.gz for `bgm store merge`.
set -uo pipefail

usage() {
    cat <<'TEXT'
usage: gpu-visit.sh [options]
  --out DIR        where logs and records go (default: $OUT, else gpu-visit)
  --kit DIR        what `make gpu-kit` built (default: beside this script, else target/gpu-kit)
  --seconds N      time for all of it (default: 560)
  --only A,B       only these stages
  --device NAME    cuda:0 unless told otherwise
  --python PATH    interpreter that has PyTorch (default: python3)
  --torch DIR      folder of the torch package (default: the interpreter's)
  --seeds A..B     seeds of the headline, in order (default: 1000..1003)
  --epochs N       epochs on the true labels (default: what fits)
  --jobs N         runs at a time (default: 2 if `bits` found that bits stay, else 1)
  --rate N         images a second to plan with (default: what `throughput` measured)
  --tiny           the smallest sizes, for a dry run on a CPU
TEXT
}
out=${OUT:-gpu-visit} kit= seconds=560 only= device=cuda:0 python=python3 torch=
seeds=1000..1003 epochs= jobs= rate= tiny=
while [ $# -gt 0 ]; do
    case $1 in
        --out | --kit | --seconds | --only | --device | --python | --torch | --seeds | --epochs | --jobs | --rate)
            [ $# -gt 1 ] || { echo "gpu-visit: $1 wants a value" >&2; exit 2; }
            printf -v "${1#--}" %s "$2"
            shift ;;
        --tiny) tiny=yes ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
all_stages="doctor throughput bits replay cpu seeds"
for name in ${only//,/ }; do
    [[ " $all_stages " == *" $name "* ]] ||
        { echo "gpu-visit: --only $name: there are $all_stages" >&2; exit 2; }
done
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

# ------------------------------------------------------------------- the profile of a visit
precision=tf32
[ "$device" != cpu ] || precision=strict
cp -r "$kit/paper_tables" "$work/tables"
data=$kit/data
images=cifar-10-jpeg
if [ -n "$tiny" ] || [ ! -e "$data/$images" ]; then
    images=fashion-mnist-subset
fi
profile() { # epochs
    {
        printf 'inherits = "gpu"\nsummary = "A visit."\n[base.image]\nprecision = "%s"\n' "$precision"
        if [ $images = fashion-mnist-subset ]; then
            # Sizes that such a small set allows.
            printf '[base.image.data.images]\ndataset = "%s"\ntrain = %s\ntest = 500\nevaluate_on = "test"\npool = 1\n' \
                "$images" "$(size 64 1920)"
        fi
        if [ -n "$tiny" ]; then
            printf '[base.image.network]\nwidth = 4\n[base.image.pretrain]\nbatch_size = 16\nepochs = 2\n'
            printf '[base.image.train]\nbatch_size = 16\nepochs = 3\nevaluate_every = 3\n'
            printf '[network.resnet50]\n"network.width" = 4\n[network.vgg16]\n"network.width" = 4\n'
            printf '[network.densenet40]\n"network.width" = 4\n'
        elif [ -n "${1:-}" ]; then
            printf '[base.image.train]\nepochs = %s\nevaluate_every = %s\n' "$1" $((($1 + 6) / 7))
        fi
    } >"$work/tables/profiles/visit.toml"
}
profile
bgm=("$kit/bgm" --data "$data" --tables "$work/tables" --expected "$kit/expected" --profile visit --device "$device")

# ------------------------------------------------------------------------------ the stages
# Runs a function in a time limit of its own, with a log of its own.
stage() { # name, seconds
    local name=$1 limit=$2 begin=$SECONDS code
    wanted "$name" || return 0
    [ "$limit" -lt $(($(left) - 8)) ] || limit=$(($(left) - 8))
    if [ "$limit" -lt 15 ]; then
        say "$name      left out: no time"
        return 0
    fi
    export_all
    timeout -k 8 -s INT "$limit" bash -c "set -uo pipefail; $functions; stage_$name $limit" \
        >"$out/$name.log" 2>&1
    code=$?
    case $code in
        0) say "$name      passed ($((SECONDS - begin)) s)" ;;
        124 | 137) [ "$name" = seeds ] && say "seeds      ended with the time; whole runs are kept" ||
            say "$name      STOPPED at its limit of $limit s" ;;
        *) say "$name      FAILED with exit code $code ($((SECONDS - begin)) s), see $name.log" ;;
    esac
}
export_all() {
    functions="$(declare -p bgm); $(declare -f stage_doctor stage_throughput stage_bits stage_replay stage_cpu stage_seeds spec once size)"
    export kit work data device python has_pytorch tiny precision seeds jobs graphs epochs
}

stage_doctor() {
    "${bgm[@]}" --only table1_accuracy,table1_networks doctor
}

stage_throughput() { # seconds
    local options=(--device "$device" --seconds $(($1 - 12)) --out "$work/throughput.json")
    [ -z "$has_pytorch" ] || options+=(--python "$python")
    options+=(--steps "$(size 1 20)")
    [ -z "$tiny" ] || options+=(--network resnet18)
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
        [ "$device" = cpu ] || compare "CUDA graphs" "$(once "$place-3" "$file" --cuda-graphs)"
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

stage_replay() { # seconds
    local begin=$SECONDS failed=0 name network
    for network in resnet18 vgg16 resnet50 densenet40; do
        [ $((SECONDS - begin)) -lt $(($1 * 2 / 3)) ] || { echo "$network: left out, no time"; continue; }
        name=$(spec trace strict)
        sed -i "s/\"arch\": \"[a-z0-9]*\"/\"arch\": \"$network\"/" "$name"
        [ $network != densenet40 ] || [ -n "$tiny" ] || sed -i 's/"width": [0-9]*/"width": 12/' "$name"
        echo "== $network"
        "${bgm[@]}" --store "$work/trace-runs" trace "$name" --steps "$(size 3 30)" \
            --out "$work/trace.safetensors" || { failed=1; continue; }
        if [ -z "$has_pytorch" ]; then
            echo "no PyTorch to replay it"
            continue
        fi
        "$python" "$kit/examples/replay_trace.py" --device "$device" "$work/trace.safetensors" || failed=1
        [ -z "$tiny" ] || break
    done
    return $failed
}

stage_cpu() {
    local file simd failed=0
    grep -m1 ^flags /proc/cpuinfo | grep -o 'avx512[a-z_]*' | paste -sd' '
    for file in "$kit"/cpu-tests/*; do
        [ -x "$file" ] && [ -f "$file" ] || continue
        for simd in avx512 avx2; do
            echo "== BGM_SIMD=$simd $(basename "$file")"
            (cd "$kit" && BGM_SIMD=$simd timeout 150 "$file") || { failed=1; echo "exit code $?"; }
        done
    done
    return $failed
}

stage_seeds() {
    local options=(--seeds "$seeds" --store "$work/runs")
    [ -z "$graphs" ] || options+=(--cuda-graphs)
    cat "$work/tables/profiles/visit.toml"
    "${bgm[@]}" "${options[@]}" --quiet reproduce --jobs "$jobs" --out "$work/reproduction"
    local code=$?
    "${bgm[@]}" "${options[@]}" plan
    cat "$work/runs/logs/"* 2>/dev/null
    # 3: too few seeds for a verdict, which is nothing wrong here. 1: another size than blessed.
    [ $code != 1 ] && [ $code != 3 ] || code=0
    return $code
}

# ------------------------------------------------------------------------------- one by one
if [ -n "$tiny" ]; then limits=(120 120 120 120 120); else limits=(100 150 100 70 120); fi
stage doctor "${limits[0]}"
stage throughput "${limits[1]}"
stage bits "${limits[2]}"
stage replay "${limits[3]}"
[ ! -e "$out/throughput.log" ] || grep -E '^peak|images a second|^[a-z].*:$' "$out/throughput.log" | tee -a "$summary"
background=
if wanted cpu && [ -n "$(ls "$kit/cpu-tests" 2>/dev/null)" ]; then
    stage cpu "${limits[4]}" &
    background=$!
fi

if wanted seeds; then
    graphs= network="resnet18, width 64, 3x32x32"
    if grep -q "^graphs.*passed: Resnet18.*$precision" "$out/doctor.log" 2>/dev/null; then graphs=yes; fi
    [ -n "$jobs" ] || { if grep -q "^same bits: $precision, two at a time, the other" "$out/bits.log" 2>/dev/null; then jobs=2; else jobs=1; fi; }
    if [ -z "$rate" ] && [ -e "$work/throughput.json" ]; then
        rate=$("$python" - "$work/throughput.json" "$network" "$precision" "${graphs:+graphs}" <<'PY'
import json, sys
path, network, precision, graphs = sys.argv[1:]
rows = json.load(open(path))["images_per_second"].get(network, {})
print(int(rows.get(f"ours, {precision}, {graphs or 'plain'}") or 0))
PY
        )
    fi
    [ "${rate:-0}" -gt 0 ] 2>/dev/null || rate=12000
    if [ -z "$epochs" ]; then
        # Pretraining: about 45 epochs of 25,600 images and their checks. Then four runs of 12,800
        # images an epoch, a third more with their evaluations. A quarter is lost between steps.
        count=$((${seeds#*..} - ${seeds%..*}))
        epochs=$(((($(left) - 30) * rate * 3 / 4 / count - 45 * 25600 * 5 / 4) / (4 * 12800 * 4 / 3)))
        epochs=$((epochs < 21 ? 21 : epochs > 70 ? 70 : epochs))
        [ -z "$tiny" ] || epochs=3
    fi
    profile "$epochs"
    say "seeds      $seeds of $images, $epochs epochs, $jobs at a time, graphs: ${graphs:-no}, planned with $rate images a second"
    stage seeds 100000
    "${bgm[@]}" --store "$work/runs" store export --out "$out/records.tar.gz" 2>&1 | tee -a "$summary"
fi
[ -z "$background" ] || wait "$background"
say "end        after $SECONDS s"
! grep -qE ' (FAILED|STOPPED) ' "$summary"
