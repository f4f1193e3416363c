#!/usr/bin/env bash
# Breaks the dispatch core, one invariant at a time, and sees the simulation notice. `make mutants` calls it.
#
#   tests/mutants.sh [NAME]...
#
# A file of tests/mutants is one fault: the invariant it breaks, a file, a piece of one of its lines, and what stands
# there instead. The simulation must pass without it, and fail with it within WHARF_SIM_SEEDS (500) seeds. The checkout
# is not touched: a copy of it is broken.
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

simulate() { (cd "$copy" && cargo test --workspace --locked --test simulation -- "$@") >"$copy/output" 2>&1; }

# But for what an earlier run may have left broken and built.
sed -n 's/^file //p' tests/mutants/* | (cd "$copy" && xargs touch)

if [ $# -eq 0 ]; then set -- $(ls tests/mutants); fi

simulate || { tail -n 30 "$copy/output" >&2 && fail "the simulation fails without any fault"; }

passed=0 failed=0
for name in "$@"; do
    mutant=tests/mutants/$name
    file=$(sed -n 's/^file //p' "$mutant") old=$(sed -n 's/^- //p' "$mutant") new=$(sed -n 's/^+ //p' "$mutant")
    text=$(<"$file")
    broken=${text/"$old"/"$new"}
    [ "$broken" != "$text" ] || fail "$name: $file has no longer what it replaces"
    printf '%s\n' "$broken" >"$copy/$file"
    (cd "$copy" && cargo test --workspace --locked --test simulation --no-run) >"$copy/output" 2>&1 ||
        { tail -n 30 "$copy/output" >&2 && fail "$name does not build"; }
    if simulate; then
        echo "missed  $name: $(sed -n '1s/^# //p' "$mutant")"
        failed=$((failed + 1))
    else
        echo "caught  $name: $(grep -m 1 -oE 'seed [0-9]+' "$copy/output" || echo 'no seed named')"
        passed=$((passed + 1))
    fi
    cp -p "$root/$file" "$copy/$file"
    # Newer than what was just built.
    touch "$copy/$file"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
