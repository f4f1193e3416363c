#!/usr/bin/env bash
# Formatting, clippy, licences and documentation, warnings denied. `make lint` calls it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '==> %s  %s\n' "$(date -u +%H:%M:%S)" "$*"; }

step "formatting"
cargo fmt --all --check
# Workspaces of their own: guests, examples and plugins are built for Wasm.
for manifest in tests/guests/Cargo.toml examples/Cargo.toml examples/orders/Cargo.toml plugins/Cargo.toml; do
    cargo fmt --all --check --manifest-path "$manifest"
done

step "clippy"
cargo clippy --workspace --locked --all-targets -- -D warnings
cargo clippy --locked --manifest-path plugins/Cargo.toml --all-targets -- -D warnings

if command -v cargo-deny >/dev/null; then
    step "licences, sources and bans"
    cargo deny --locked --workspace check bans licenses sources
else
    step "licences, sources and bans: left out, cargo-deny is not installed"
fi

step "documentation"
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --features wharf-sdk/config --locked --no-deps --document-private-items --quiet
