#!/usr/bin/env bash
# Everything that needs a GPU, in parts that can be called one by one and go on where they were stopped; for a
# machine without network. benchmarks/gpu/README.md says what each part does and needs.
#   benchmarks/gpu.sh [--dry-run] PART...     check, speed, teacher, real, psnr, gan, psnr+gan (side by side), all
#   benchmarks/gpu.sh pack OUT ...            here, with a network: the bundles that the machine needs
# From the environment: PYTHON (python3), WORK (runs/gpu), GIVEN (given: what the bundles hold), PHOTOS, TEACHER,
# SETS (from GIVEN), MINUTES (of each part), OUT (a folder for results.tar.gz).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3} GIVEN=${GIVEN:-given} WORK=${WORK:-runs/gpu}
PHOTOS=${PHOTOS:-$GIVEN/photos} SETS=${SETS:-$GIVEN/sets} TEACHER=${TEACHER:-$GIVEN/models/realesrgan-x4plus.param}

if [ "${1:-}" = pack ]; then
    shift
    PYTHONPATH=. exec "$PYTHON" benchmarks/gpu/pack.py "$@"
fi
dry=()
if [ "${1:-}" = --dry-run ]; then
    dry=(--dry-run)
    shift
    # Where other work runs, threads that wait for one another are the slowest.
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
fi
[ $# -gt 0 ] || { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
parts=()
for part in "$@"; do
    case $part in
    all) parts+=(check speed teacher real psnr+gan) ;;
    check | speed | teacher | real | psnr | gan | psnr+gan) parts+=("$part") ;;
    *) echo "gpu.sh: there is no part $part; choose from: check, speed, teacher, real, psnr, gan, psnr+gan, all" >&2; exit 2 ;;
    esac
done

# Packages that the machine lacks, from the bundle; once.
site=$PWD/$WORK/site
if [ -d "$GIVEN/wheels" ] && [ ! -f "$site/.whole" ]; then
    mkdir -p "$site"
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
        --root-user-action=ignore --upgrade --target "$site" "$GIVEN"/wheels/*.whl || exit 1
    cp -r "$GIVEN"/packages/. "$site" && touch "$site/.whole"
fi
export PYTHONPATH=$PWD:$site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 TORCHINDUCTOR_FX_GRAPH_CACHE=1

results=$WORK${dry:+/dry}/results
mkdir -p "$results"
# Seconds beyond which a part is stopped, whatever it does; each keeps to its own minutes itself.
declare -A limits=([check]=400 [speed]=420 [teacher]=330 [real]=570 [psnr]=480 [gan]=480)

# run PART: one part, with its log; the command that repeats it is the first line.
run() {
    local part=$1 began=$SECONDS code
    local words=("benchmarks/gpu/$part.py" --work "$WORK")
    [ -d "$PHOTOS" ] && words+=(--photos "$PHOTOS")
    [ -d "$SETS" ] && words+=(--sets "$SETS")
    [ -f "$TEACHER" ] && words+=(--teacher "$TEACHER")
    words+=(${MINUTES:+--minutes "$MINUTES"} "${dry[@]}")
    echo "== $part: $PYTHON ${words[*]}"
    timeout -s TERM -k 40 "${limits[$part]}" "$PYTHON" "${words[@]}" 2>&1 | tee -a "$results/$part.log"
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
