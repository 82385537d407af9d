#!/usr/bin/env bash
# Checks and measures the nvidia chip on a machine that has one: `bench/nvidia/run.sh PART...`. Results go to $OUT (default
# ./nvidia-results); `node bench/nvidia/report.mjs` writes them into docs/. Each part takes less than eight minutes.
#
#   language opinfo models quickstart sanitizer far check     values
#   faults vendor devices                                     failing kernels, cuBLAS, several GPUs
#   tiny memory matmul attention decode sort quantized        speed, ours and torch's; floors measures the machine
#   decoding prefill training learning                        whole models; profile-PART shows the kernels of a step
#   curve                                                     2,000 training steps, ours and torch's (bench/training)
#
# Needs Node, `npm ci` and `npm run build`; python3 with torch and Triton for the peers. A machine without Node and npm can bring
# them: where .carry/ holds what bench/nvidia/pack.sh made, that is unpacked.
set -uo pipefail
cd "$(dirname "$0")/../.."
OUT=${OUT:-$PWD/nvidia-results}
mkdir -p "$OUT"
if [ -f .carry/node.xz ] && [ ! -x /tmp/vexil-bin/node ]; then
  mkdir -p /tmp/vexil-bin
  xz -dc .carry/node.xz > /tmp/vexil-bin/node && chmod +x /tmp/vexil-bin/node
fi
[ -x /tmp/vexil-bin/node ] && export PATH=/tmp/vexil-bin:$PATH
for a in .carry/*.tar.xz; do
  [ -f "$a" ] && [ ! -f "/tmp/vexil-bin/$(basename "$a").done" ] && tar -xf "$a" && touch "/tmp/vexil-bin/$(basename "$a").done"
done
export VEXIL_CHIP=nvidia VEXIL_TEST_CHIPS=nvidia VEXIL_VENDOR=${VEXIL_VENDOR:-off}
SHARED=${SHARED:-../shared}
[ -d shared-samples ] && SHARED=shared-samples
{ date -u +%Y-%m-%dT%H:%MZ; node --version; nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader; } > "$OUT/machine.txt"
vexil() { node dist/cli/main.js "$@"; }

part() {
  case $1 in
  language) node node_modules/vitest/vitest.mjs run --maxWorkers=8 --reporter=dot test/language test/graph.test.ts src/chips/nvidia ;;
  opinfo) node bench/nvidia/opinfo.mjs nvidia "$SHARED" ${SAMPLE:+--sample=$SAMPLE} ;;
  models) vexil conformance models "$SHARED/models" --chip nvidia ;;
  quickstart) vexil quickstart ;;
  sanitizer) compute-sanitizer --target-processes all --error-exitcode 3 \
      node node_modules/vitest/vitest.mjs run --maxWorkers=1 --no-file-parallelism --reporter=dot test/language ;;
  far) node bench/nvidia/far.mjs ;;
  faults) node bench/nvidia/faults.mjs ;;
  vendor) VEXIL_CUBLAS=$(cublas) node bench/nvidia/vendor.mjs ;;
  devices) node bench/nvidia/devices.mjs ;;
  check) node bench/nvidia/measure.mjs "" check ;;
  floors) peers floors ;;
  curve) node bench/training/curve.mjs --chip nvidia --peer-device cuda --results "$OUT/curves.json" ;;
  tiny | memory | matmul | attention | decode | sort | quantized)
    node bench/nvidia/measure.mjs "$OUT" "$1"
    peers "$1" ;;
  decoding | prefill | training | learning)
    node bench/nvidia/models.mjs "$OUT" "$1" || failed=1
    model_peers "$1" || failed=1
    [ "$1" != learning ] || node bench/nvidia/models.mjs "$OUT" losses || failed=1
    return ${failed:-0} ;;
  profile-*) PROFILE=1 node bench/nvidia/models.mjs "$OUT" "${1#profile-}" ;;
  *) echo "no such part: $1"; return 2 ;;
  esac
}

# cuBLAS where the loader does not look: beside a Python package. Nothing if there is none.
cublas() {
  [ -n "${VEXIL_CUBLAS:-}" ] && echo "$VEXIL_CUBLAS" && return
  ldconfig -p | grep -q 'libcublas\.so\.1[23]' && return
  python3 -c 'import glob, sysconfig; print(next(iter(sorted(glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib/libcublas.so.1[23]"), reverse=True)), ""))' 2> /dev/null
}

peers() {
  [ -n "${NO_PEERS:-}" ] && return 0
  node -e 'import("./bench/nvidia/works.mjs").then((m) => console.log(JSON.stringify({ works: m.WORKS, sizes: m.SIZES })))' > "$OUT/works.json"
  python3 bench/nvidia/peers.py "$OUT" "$OUT/works.json" "$@"
}

model_peers() {
  [ -n "${NO_PEERS:-}" ] && return 0
  node -e 'import("./bench/nvidia/model-shapes.mjs").then((m) => console.log(JSON.stringify({ shapes: m.SHAPES, sizes: m.MODEL_SIZES })))' > "$OUT/sizes.json"
  python3 bench/nvidia/peers_models.py "$OUT" "$OUT/sizes.json" "$1"
}

status=0
for p in "$@"; do
  start=$SECONDS
  timeout "${LIMIT:-470}" bash -c "$(declare -f part peers model_peers vexil cublas); SHARED=$SHARED; OUT=$OUT; part $p" > "$OUT/$p.log" 2>&1
  code=$?
  [ $code -ne 0 ] && status=1
  echo "=== $p: exit $code after $((SECONDS - start)) s"
  tail -n "${LINES_SHOWN:-25}" "$OUT/$p.log" | cut -c1-220
  echo "{\"part\":\"$p\",\"exit\":$code,\"seconds\":$((SECONDS - start))}" > "$OUT/part-$p.json"
done
# One file is easier to bring back than many.
tar -C "$OUT" -czf /tmp/results.tar.gz . && mv /tmp/results.tar.gz "$OUT"
exit $status
