#!/usr/bin/env bash
# Builds the components that are shipped, and those that tests, benchmarks and examples run, into $CARGO_TARGET_DIR/guests (target/guests).
#
#   sdk/build-guests.sh [all|rust|orders|examples|plugins|javascript|python]...
#
# rust includes orders and examples, the handlers in examples/, and plugins, those in plugins/. A component is replaced
# only when its bytes changed, and by a rename, so that a host watching the folder never sees half of one. What is up to
# date is not built again. Nothing is installed outside the checkout and the target folder, but for the Rust target.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
guests=$target/guests
# Guests have a build folder of their own, shared by their workspaces: one set of dependencies.
build=$target/guests-build

say() { echo "guests: $*"; }
fail() {
    echo "guests: $*" >&2
    exit 1
}

# put FILE NAME: the component FILE becomes guests/NAME.wasm.
put() {
    local to=$guests/$2.wasm
    if cmp -s "$1" "$to"; then return; fi
    cp "$1" "$guests/.$2.$$"
    mv -f "$guests/.$2.$$" "$to"
    say "$2.wasm, $(($(wc -c <"$to") / 1024)) KiB"
}

# digest FILE...: one word for the contents and names of the files.
digest() {
    (cd "$root" && sha256sum "$@" | sha256sum | cut -c1-64)
}

# fresh NAME DIGEST: whether guests/NAME.wasm was made of these inputs.
fresh() {
    [ -f "$guests/$1.wasm" ] && [ "$(cat "$build/$1.inputs" 2>/dev/null)" = "$2" ]
}

rust_target() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust, https://www.rust-lang.org/tools/install"
    command -v rustup >/dev/null || return 0
    (cd "$root" && rustup target list --installed) | grep -x wasm32-wasip2 >/dev/null && return
    say "installing the Rust target wasm32-wasip2"
    (cd "$root" && rustup target add wasm32-wasip2)
}

# cargo_guests FOLDER PACKAGE[=NAME]...: builds packages of the workspace in FOLDER.
cargo_guests() {
    local folder=$1 guest packages=()
    shift
    for guest in "$@"; do packages+=(--package "${guest%=*}"); done
    (
        cd "$root"
        CARGO_TARGET_DIR=$build cargo build --quiet --locked --release --target wasm32-wasip2 \
            --manifest-path "$folder/Cargo.toml" "${packages[@]}"
    ) || fail "$folder does not build"
    for guest in "$@"; do
        local package=${guest%=*}
        put "$build/wasm32-wasip2/release/${package//-/_}.wasm" "${guest#*=}"
    done
}

orders() {
    rust_target
    cargo_guests examples/orders orders-handler=orders orders-handler-fixed=orders-fixed
}

examples() {
    rust_target
    cargo_guests examples example-hello example-order-by-key
}

plugins() {
    rust_target
    cargo_guests plugins plugin-audit-log=audit-log plugin-bridge=bridge plugin-schema-check=schema-check
}

rust() {
    rust_target
    cargo_guests tests/guests hello identity json-echo needs-http noop probe-trap puppet wrong-export
    not_a_component
    orders
    examples
    plugins
}

# A core module where a component is expected: (module (func (export "handle")))
not_a_component() {
    local module=$build/not-a-component.wasm
    printf '\0asm\1\0\0\0\1\4\1\140\0\0\3\2\1\0\7\12\1\6handle\0\0\12\4\1\2\0\13' >"$module"
    put "$module" not-a-component
}

javascript() {
    local name=hello-javascript folder=sdk/javascript/hello inputs
    command -v node >/dev/null && command -v npm >/dev/null ||
        fail "node or npm is missing: install Node.js 20 or later (Debian: apt-get install nodejs npm)"
    [ "$(node -p 'process.versions.node.split(".")[0] >= 20')" = true ] ||
        fail "node $(node --version) is too old: install Node.js 20 or later"
    inputs=$(digest wit/* $folder/*.js $folder/*.mjs $folder/package-lock.json)
    if fresh $name "$inputs"; then return; fi
    # Not `npm ci`: it refuses a lock without the optional packages of other platforms that a registry lacks.
    # npm keeps a copy of the lock it installed from.
    if ! [ "$root/$folder/node_modules/.package-lock.json" -nt "$root/$folder/package-lock.json" ]; then
        say "installing componentize-js into $folder/node_modules (385 MB)"
        (cd "$root/$folder" && npm install --no-save --silent --no-fund --no-audit) || fail "npm install failed in $folder"
    fi
    say "building $name"
    (cd "$root/$folder" && node build.mjs "$root/wit" "$build/$name.wasm") || fail "$folder does not build"
    put "$build/$name.wasm" $name
    echo "$inputs" >"$build/$name.inputs"
}

python() {
    local name=hello-python folder=sdk/python/hello venv=$target/guests-venv inputs wanted
    command -v python3 >/dev/null || fail "python3 is missing: install Python 3.10 or later (Debian: apt-get install python3-venv)"
    inputs=$(digest wit/* $folder/*.py $folder/requirements.txt)
    if fresh $name "$inputs"; then return; fi
    wanted=$(digest $folder/requirements.txt)
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
        say "installing componentize-py into $venv (72 MB)"
        python3 -m venv --clear "$venv" || fail "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$root/$folder/requirements.txt" || fail "pip install failed for $folder"
        echo "$wanted" >"$venv/installed"
    fi
    say "building $name"
    (
        cd "$root/$folder"
        PYTHONDONTWRITEBYTECODE=1 "$venv/bin/componentize-py" --quiet -d "$root/wit" -w plugin componentize app -o "$build/$name.wasm"
    ) || fail "$folder does not build"
    put "$build/$name.wasm" $name
    echo "$inputs" >"$build/$name.inputs"
}

mkdir -p "$guests" "$build"
for part in "${@:-all}"; do
    case $part in
        all)
            rust
            javascript
            python
            ;;
        rust | orders | examples | plugins | javascript | python) "$part" ;;
        *) fail "there is no part '$part': all, rust, orders, examples, plugins, javascript or python" ;;
    esac
done
