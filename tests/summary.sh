#!/usr/bin/env bash
# Sums what test runners printed, read from files or standard input: `12 passed, 0 failed`.
#
# It reads the lines `test result: ok. 12 passed; 0 failed; …`. It says nothing about how the runners ended: their
# exit codes do.
set -euo pipefail

# Colours are taken off first, for those who turned them on.
sed $'s/\e\\[[0-9;]*m//g' "$@" | awk '
    /^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed;?$/) passed += $(i - 1)
            if ($i ~ /^failed;?$/) failed += $(i - 1)
        }
    }
    END { printf "%d passed, %d failed\n", passed, failed }'
