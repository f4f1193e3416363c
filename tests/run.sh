#!/usr/bin/env bash
# Runs every test there is, all of them even when one fails, and ends with the sum: `N passed, N failed`.
#
# `make test` calls it. The exit code is that of the runners; the sum is read from what they printed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$target/tmp"
log=$(mktemp "$target/tmp/tests.XXXXXX")
trap 'rm -f "$log"' EXIT
failed=0

# What is drawn is the same every time: a change passes or fails by what it changes. `make properties` draws anew.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-1}

# run WHAT COMMAND...: a runner whose tests are counted by what it prints. One that fails without a failed test, such
# as one that does not build, counts as one.
run() {
    local what=$1 code=0 before
    shift
    printf '\n==> %s  %s\n' "$(date -u +%H:%M:%S)" "$what"
    before=$(failures)
    "$@" 2>&1 | tee -a "$log" || code=$?
    if [ "$code" -ne 0 ]; then
        failed=1
        [ "$(failures)" != "$before" ] || echo "test result: FAILED. 0 passed; 1 failed; $what" | tee -a "$log"
    fi
    return "$code"
}

failures() { tests/summary.sh "$log" | sed 's/.*passed, //'; }

# check WHAT COMMAND...: a command that is one test by itself.
check() {
    run "$@" && echo "test result: ok. 1 passed; 0 failed; $1" | tee -a "$log"
}

run "components that tests run" sdk/build-guests.sh rust
run "build" cargo build --workspace --locked --bins --tests
run "tests of the workspace" cargo test --workspace --locked --no-fail-fast
run "tests of the plugins" cargo test --locked --no-fail-fast --manifest-path plugins/Cargo.toml
run "tests of the order handlers" cargo test --locked --manifest-path examples/orders/Cargo.toml
check "the orders are what their script writes" python3 examples/orders/make-messages.py --check

printf '\n'
tests/summary.sh "$log"
exit "$failed"
