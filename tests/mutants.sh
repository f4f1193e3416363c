#!/usr/bin/env bash
# Breaks the host on purpose, one promise at a time, and sees the tests notice. `make mutants` calls it for the dispatch core,
# `make mutants-brokers` for the adapters.
#
#   tests/mutants.sh [NAME|FOLDER]...
#
# A file of tests/mutants is one fault: the promise it breaks, a file, a piece of one of its lines, and what stands
# there instead. Without more the simulation plays it, which must fail within WHARF_SIM_SEEDS (500) seeds. A line
# `test SUITE FILTER...` names tests that play it instead, on real servers, and `program` says that those start the program.
# They must pass without it, and one of them must fail with it. The checkout is not touched: a copy of it is broken.
#
# Faults for different suites are played by one build: what breaks one adapter is nothing to the tests of another.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} WHARF_SIM_SEEDS=${WHARF_SIM_SEEDS:-500}
root=$PWD
copy=$CARGO_TARGET_DIR/mutants
mkdir -p "$copy"
# Times are kept, so that what did not change since the last run is not built again.
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --ignore-failed-read -cf - | tar -xf - -C "$copy"

fail() {
    echo "mutants: $*" >&2
    exit 1
}

# of NAME KEY: what the line of this key says.
of() { sed -n "s/^$2 //p" "tests/mutants/$1"; }

# played NAME: the suite that plays it, and which of its tests.
played() {
    local tests
    tests=$(of "$1" test)
    echo "${tests:-simulation}"
}

# build NAME...: the suites that play these, and the program where one of them starts it.
build() {
    local name suite targets=() starts=()
    for name in "$@"; do
        read -r suite _ <<<"$(played "$name")"
        targets+=(--test "$suite")
        if grep -qx program "tests/mutants/$name"; then
            program=broken starts=(--bins)
        fi
    done
    targets+=("${starts[@]}")
    (cd "$copy" && cargo build --workspace --locked "${targets[@]}") >"$copy/output" 2>&1
}

# passes SUITE [FILTER]...: whether these tests do. One that hangs does not.
passes() {
    (cd "$copy" && timeout 300 cargo test --workspace --locked --test "$1" -- "${@:2}") >"$copy/output" 2>&1
}

# noticed: what the tests that ran last found, in a few words; nothing where none of them failed.
noticed() {
    grep -m 1 -oE 'seed [0-9]+' "$copy/output" ||
        sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$copy/output" | paste -sd ' '
}

# damage NAME: puts the fault into the copy.
damage() {
    local file old new text broken
    file=$(of "$1" file) old=$(of "$1" -) new=$(of "$1" +)
    text=$(<"$copy/$file")
    broken=${text/"$old"/"$new"}
    [ "$broken" != "$text" ] || fail "$1: $file has no longer what it replaces"
    printf '%s\n' "$broken" >"$copy/$file"
}

# mend NAME: takes it out again.
mend() {
    local file
    file=$(of "$1" file)
    cp -p "$root/$file" "$copy/$file"
    # Newer than what was just built.
    touch "$copy/$file"
}

say() { tail -n 30 "$copy/output" >&2; }

# The program is built where that of the checkout is: it is not left broken.
program=whole
give_back() {
    if [ "$program" = broken ]; then
        cargo build --workspace --locked --bins --test simulation >"$copy/output" 2>&1 ||
            echo "mutants: target/debug/wharf is a broken one: build it again" >&2
    fi
}
trap give_back EXIT

names=()
for path in "${@:-.}"; do
    if [ -d "tests/mutants/$path" ]; then
        for file in "tests/mutants/$path"/*; do
            file=${file#tests/mutants/}
            if [ -f "tests/mutants/$file" ]; then names+=("${file#./}"); fi
        done
    else
        names+=("$path")
    fi
done

# What an earlier run may have left broken and built is built anew.
declare -A tests=()
for name in "${names[@]}"; do
    touch "$copy/$(of "$name" file)"
    read -r suite filters <<<"$(played "$name")"
    tests[$suite]+=" $filters"
done

build "${names[@]}" || { say && fail "it does not build without any fault"; }
for suite in "${!tests[@]}"; do
    read -ra filters <<<"${tests[$suite]}"
    passes "$suite" "${filters[@]}" || { say && fail "$suite fails without any fault"; }
done

passed=0 failed=0
while [ ${#names[@]} -gt 0 ]; do
    # One of each suite; the others in later rounds.
    round=() later=() suites=' '
    for name in "${names[@]}"; do
        read -r suite _ <<<"$(played "$name")"
        case $suites in
            *" $suite "*) later+=("$name") ;;
            *) round+=("$name") suites+="$suite " ;;
        esac
    done
    for name in "${round[@]}"; do damage "$name"; done
    build "${round[@]}" || { say && fail "does not build with ${round[*]}"; }
    for name in "${round[@]}"; do
        read -ra words <<<"$(played "$name")"
        start=$SECONDS found=
        passes "${words[@]}" || found=$(noticed)
        if [ -n "$found" ]; then
            echo "caught  $name: $found ($((SECONDS - start)) s)"
            passed=$((passed + 1))
        else
            echo "missed  $name: $(sed -n '1s/^# //p' "tests/mutants/$name")"
            failed=$((failed + 1))
        fi
    done
    for name in "${round[@]}"; do mend "$name"; done
    names=("${later[@]}")
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
