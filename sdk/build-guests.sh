#!/usr/bin/env bash
# Builds the components that tests, benchmarks and examples run, into $CARGO_TARGET_DIR/guests (target/guests).
#
#   sdk/build-guests.sh [all|rust|javascript|python]
#
# A component is replaced only when its bytes changed, and by a rename, so that a host watching the folder
# never sees half of one. What is up to date is not built again.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
guests=$target/guests
# Guests have a build folder of their own, shared by their workspaces: one set of dependencies.
build=$target/guests-build
wasm=$build/wasm32-wasip2/release

say() { echo "guests: $*"; }
fail() { echo "guests: $*" >&2; exit 1; }

# put FILE NAME: the component FILE becomes guests/NAME.wasm.
put() {
    local to=$guests/$2.wasm
    cmp -s "$1" "$to" && return
    cp "$1" "$guests/.$2.$$"
    mv -f "$guests/.$2.$$" "$to"
    say "$2.wasm, $(($(wc -c <"$to") / 1024)) KiB"
}

# cargo_guests FOLDER NAME...: builds the workspace in FOLDER and puts the named packages.
cargo_guests() {
    local folder=$1 name
    shift
    CARGO_TARGET_DIR=$build cargo build --quiet --locked --release --target wasm32-wasip2 --manifest-path "$root/$folder/Cargo.toml"
    for name in "$@"; do put "$wasm/${name//-/_}.wasm" "$name"; done
}

rust() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
    if command -v rustup >/dev/null && ! (cd "$root" && rustup target list --installed) | grep -qx wasm32-wasip2; then
        say "installing the Rust target wasm32-wasip2"
        (cd "$root" && rustup target add wasm32-wasip2)
    fi
    cargo_guests tests/guests hello identity json-echo needs-http noop probe-trap puppet wrong-export
    not_a_component
}

# A core module where a component is expected: (module (func (export "handle")))
not_a_component() {
    local module=$build/not-a-component.wasm
    printf '\0asm\1\0\0\0\1\4\1\140\0\0\3\2\1\0\7\12\1\6handle\0\0\12\4\1\2\0\13' >"$module"
    put "$module" not-a-component
}

mkdir -p "$guests" "$build"
case ${1:-all} in
    all) rust ;;
    rust) rust ;;
    *) fail "unknown part '$1': all, rust, javascript or python" ;;
esac
