#!/usr/bin/env bash
# Everything that needs a GPU, in parts that can be called one by one and go on where they were stopped; for a
# machine without network. benchmarks/gpu/README.md says what each part does and needs.
#   benchmarks/gpu.sh [--dry-run] PART[=MINUTES]...
#       PART: check, speed, teacher, real, psnr, gan, psnr+gan (side by side), all
#   benchmarks/gpu.sh pack OUT ...            here, with a network: the bundles that the machine needs
# From the environment: PYTHON (python3), WORK (runs/gpu), GIVEN (given: what the bundles hold), PHOTOS, TEACHER,
# SETS (from GIVEN), OUT (a folder for results.tar.gz).
set -uo pipefail
PYTHON=${PYTHON:-python3} root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ "${1:-}" = pack ]; then
    shift
    PYTHONPATH=$root exec "$PYTHON" "$root/benchmarks/gpu/pack.py" "$@"
fi
# Paths are those of where it was called.
for name in GIVEN WORK PHOTOS TEACHER SETS OUT; do
    [ -z "${!name:-}" ] || printf -v "$name" %s "$(realpath -m "${!name}")"
done
cd "$root" || exit 1
GIVEN=${GIVEN:-$root/given} WORK=${WORK:-$root/runs/gpu}
PHOTOS=${PHOTOS:-$GIVEN/photos} SETS=${SETS:-$GIVEN/sets} TEACHER=${TEACHER:-$GIVEN/models/realesrgan-x4plus.param}

dry=()
if [ "${1:-}" = --dry-run ]; then
    dry=(--dry-run)
    shift
    # Where other work runs, threads that wait for one another are the slowest.
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
fi
[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
declare -A minutes=([check]=4 [speed]=4 [teacher]=2.5 [real]=6.5 [psnr]=5 [gan]=5)
parts=()
for word in "$@"; do
    part=${word%%=*}
    if [ "$part" != "$word" ]; then
        [[ ${word#*=} =~ ^[0-9]+([.][0-9]+)?$ ]] || { echo "gpu.sh: $word: minutes are a number" >&2; exit 2; }
        for each in ${part/+/ }; do minutes[$each]=${word#*=}; done
    fi
    case $part in
    all) parts+=(check speed teacher real psnr+gan) ;;
    check | speed | teacher | real | psnr | gan | psnr+gan) parts+=("$part") ;;
    *) echo "gpu.sh: there is no part $part; choose from: check, speed, teacher, real, psnr, gan, psnr+gan, all" >&2; exit 2 ;;
    esac
done

# Packages that the machine lacks, from the bundles.
site=$WORK/site
if [ -d "$GIVEN/wheels" ] && [ "$(cat "$site/.wheels" 2>&1)" != "$(ls "$GIVEN/wheels")" ]; then
    mkdir -p "$site"
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
        --root-user-action=ignore --upgrade --target "$site" "$GIVEN"/wheels/*.whl || exit 1
    ls "$GIVEN/wheels" >"$site/.wheels"
fi
[ ! -d "$GIVEN/packages" ] || cp -r "$GIVEN"/packages/. "$site" || exit 1
export PYTHONPATH=$root:$site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 TORCHINDUCTOR_FX_GRAPH_CACHE=1

results=$WORK${dry:+/dry}/results
mkdir -p "$results"

# run PART: one part, with its log; the command that repeats it is the first line.
run() {
    local part=$1 began=$SECONDS code
    local words=("benchmarks/gpu/$part.py" --work "$WORK")
    [ -d "$PHOTOS" ] && words+=(--photos "$PHOTOS")
    [ -d "$SETS" ] && words+=(--sets "$SETS")
    [ -f "$TEACHER" ] && words+=(--teacher "$TEACHER")
    # Where a dry run shares its cores, it takes long.
    words+=(--minutes "$([ ${#dry[@]} -gt 0 ] && echo 15 || echo "${minutes[$part]}")" "${dry[@]}")
    # A part keeps to its minutes itself; beyond this it is stopped, whatever it does.
    local limit
    limit=$(awk -v minutes="${words[-1 - ${#dry[@]}]}" 'BEGIN { print int(60 * minutes + 90) }')
    echo "== $part: $PYTHON ${words[*]}"
    timeout -s TERM -k 40 "$limit" "$PYTHON" "${words[@]}" 2>&1 | tee -a "$results/$part.log"
    code=${PIPESTATUS[0]}
    echo "== $part: exit $code after $((SECONDS - began)) s; to go on or repeat: benchmarks/gpu.sh ${dry[*]} $part"
    return "$code"
}

# keep: what is worth keeping, in one file.
keep() {
    [ -n "${OUT:-}" ] || return 0
    mkdir -p "$OUT" && tar czf "$OUT/results.tar.gz" -C "$(dirname "$results")" results && ls -l "$OUT/results.tar.gz"
}
trap keep EXIT

failed=()
for part in "${parts[@]}"; do
    if [ "$part" = psnr+gan ]; then
        # What both train on is prepared by the first; the second waits for it.
        run psnr & first=$!
        run gan & second=$!
        wait "$first" || failed+=(psnr)
        wait "$second" || failed+=(gan)
    else
        run "$part" || failed+=("$part")
    fi
done
echo "== ${#parts[@]} parts in $SECONDS s${failed[*]:+; not finished: ${failed[*]}}; results: $results"
[ ${#failed[@]} -eq 0 ]
