# What .ci/run and .ci/full share. Sourced, not run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CI=true
export VEXIL_CACHE="${VEXIL_CACHE:-$PWD/node_modules/.cache/vexil}"
export NO_COLOR=1
results="$(mktemp -d)"
trap 'rm -rf "$results"' EXIT
passed=0
failed=0
skipped=0

say() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# Debian packages that the fuller checks need; without apt or rights, what is missing is skipped by name.
need() {
  local missing=()
  for pair in "$@"; do command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair##*=}"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    say "install ${missing[*]}"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "not installed, and not installable here: ${missing[*]}"
  fi
}

# What kernels for other processors need: cross compilers, their C libraries, user-mode emulation.
need_emulation() {
  need aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu riscv64-linux-gnu-gcc=gcc-riscv64-linux-gnu qemu-aarch64=qemu-user
  for pair in aarch64-linux-gnu=libc6-dev-arm64-cross riscv64-linux-gnu=libc6-dev-riscv64-cross; do
    [ -d "/usr/${pair%%=*}/lib" ] && continue
    { [ "$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends "${pair##*=}" >/dev/null; } || echo "not installed: ${pair##*=}"
  done
}

# Runs test files on the cpu chip's kernels for another processor, under emulation: `emulated arm64 aarch64 FILE...`.
emulated() {
  local name="$1" arch="$2"
  shift 2
  for tool in "$arch-linux-gnu-gcc" "qemu-$arch"; do
    command -v "$tool" >/dev/null 2>&1 && continue
    echo "skipped: the kernel language on $name (missing: $tool)"
    skipped=$((skipped + 1))
    return 0
  done
  check "the kernel language on $name, emulated" env VEXIL_TEST_CHIPS="$name" VEXIL_TEST_MODULES="test/emulated/$name.ts" \
    npx vitest run --reporter=dot "$@"
}

# Runs one check and counts it as a test.
check() {
  local name="$1"
  shift
  say "$name"
  if "$@"; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "FAILED: $name"
  fi
}

# Runs vitest and adds its counts.
run_vitest() {
  say "npm test"
  local json="$results/vitest.json"
  npm test -- --reporter=default --reporter=json --outputFile.json="$json" "$@" || echo "FAILED: npm test"
  read -r p f s < <(node -e '
    const r = JSON.parse(require("fs").readFileSync(process.argv[1]));
    const broken = r.testResults.filter((t) => t.status === "failed" && t.assertionResults.length === 0).length;
    console.log(r.numPassedTests, r.numFailedTests + broken, r.numPendingTests + r.numTodoTests);
  ' "$json" || echo "0 1 0")
  passed=$((passed + p))
  failed=$((failed + f))
  skipped=$((skipped + s))
}

# One conformance run: the closing JSON line must report no failure.
conformance() {
  local out="$results/conformance.$BASHPID.out"
  node dist/node/cli/main.js conformance "$@" >"$out" || { tail -n 20 "$out"; return 1; }
  tail -n 1 "$out"
}

# Runs functions of checks side by side, each with a log and counts of its own: `lanes FUNCTION... -- ARGUMENTS...`.
lanes() {
  local f p q s names=()
  while [ "$1" != -- ]; do
    names+=("$1")
    shift
  done
  shift
  for f in "${names[@]}"; do
    (
      passed=0 failed=0 skipped=0
      "$f" "$@"
      echo "$passed $failed $skipped" >"$results/$f.counts"
    ) >"$results/$f.log" 2>&1 &
  done
  wait
  for f in "${names[@]}"; do
    cat "$results/$f.log"
    read -r p q s <"$results/$f.counts" || { p=0 q=1 s=0; echo "FAILED: $f"; }
    passed=$((passed + p)) failed=$((failed + q)) skipped=$((skipped + s))
  done
}

ALL_SETS="models public half wide"

# The models and the oracle sets on one chip, or some of these: `oracles CHIP "SETS" ARGUMENTS_FOR_THE_SAMPLES...`.
oracles() {
  local chip="$1" sets="$2" set
  shift 2
  for set in $sets; do
    if [ "$set" = models ]; then
      check "models on $chip" conformance models "$oracle/models" --chip "$chip"
    elif [ -f "$oracle/opinfo/$set.jsonl" ]; then
      check "opinfo $set on $chip" conformance opinfo "$oracle/opinfo/$set" --chip "$chip" "$@"
    fi
  done
}

# Every chip of CI, in two lanes of about the same length: the C compiler takes most of the time. `every_chip ARGUMENTS...`.
every_chip() {
  lane_a() {
    oracles interpreter "$ALL_SETS" "$@"
    oracles wasm "$ALL_SETS" "$@"
    oracles cpu "half wide" "$@"
  }
  lane_b() { oracles cpu "models public" "$@"; }
  lanes lane_a lane_b -- "$@"
}

# The opencl chip on PoCL, which makes a CPU of it: `on_pocl TEST_FILES SETS...`. Its compiler takes half a second or more for a
# kernel, a third of that without optimising.
need_pocl() {
  [ -f /etc/OpenCL/vendors/pocl.icd ] && return 0
  { [ "$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends pocl-opencl-icd ocl-icd-libopencl1 >/dev/null; } || echo "not installed: PoCL"
}
on_pocl() {
  local tests="$1"
  shift
  if [ ! -f /etc/OpenCL/vendors/pocl.icd ]; then
    echo "skipped: the suites on opencl (missing: PoCL)"
    skipped=$((skipped + 1))
    return 0
  fi
  export VEXIL_OPENCL_OPTIONS=-cl-opt-disable
  # shellcheck disable=SC2086
  check "the suites on opencl" env VEXIL_TEST_CHIPS=opencl npx vitest run --reporter=dot $tests
  check "models on opencl" conformance models "$oracle/models" --chip opencl
  check "opinfo on opencl" conformance opinfo "$@" --chip opencl --sample 1
  unset VEXIL_OPENCL_OPTIONS
}

finish() {
  printf '\ntests: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" -eq 0 ]
}
