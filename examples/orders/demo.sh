#!/usr/bin/env bash
# Shows a host at work, and counts what came of it. `make demo` builds what this needs and calls it.
#
#   examples/orders/demo.sh WHARF COMPONENTS
#
# WHARF is the program, COMPONENTS the folder with orders.wasm and orders-fixed.wasm.
#
# Half of the messages meet the first version of the handler, which panics on prices without decimals. Then the
# fixed version is put in its place while the other half arrives, and the dead letters it can take are sent back.
# Every count that is checked is read from the broker, and must be what expected.json says.
#
# DEMO_RATE (messages per second, 800) and DEMO_DATA (where the run keeps its files, a temporary folder) may be set.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -eq 2 ] || {
    echo "usage: $0 WHARF COMPONENTS" >&2
    exit 64
}
wharf=$(realpath "$1")
components=$(realpath "$2")
rate=${DEMO_RATE:-800}

mkdir -p "${DEMO_DATA:-${TMPDIR:-/tmp}}"
run=$(mktemp -d "${DEMO_DATA:-${TMPDIR:-/tmp}}/wharf-demo.XXXXXX")
export WHARF_CONFIG=$here/wharf.yaml
# Compiled code is kept with the rest.
export XDG_CACHE_HOME=$run
export ORDERS_DATA=$run ORDERS_COMPONENT=$run/orders.wasm ORDERS_TELEMETRY=127.0.0.1:0

host='' feed='' watch=''

# Whatever ends it: ends what it started, by its process id, and removes its folder.
finish() {
    local code=$? pid
    trap - EXIT INT TERM
    [ -z "$watch" ] || printf '\n'
    for pid in $feed $host; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $feed $host; do wait "$pid" 2>/dev/null || true; done
    if [ "$code" -eq 1 ] && [ -n "$host" ] && [ -s "$run/host.log" ]; then
        echo "the host's last words:" >&2
        tail -n 15 "$run/host.log" >&2
    fi
    rm -rf "$run"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bold='' dim='' red='' green='' cyan='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' cyan=$'\e[36m' plain=$'\e[0m'
fi

say() { printf '%s\n' "$*"; }
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() {
    echo "demo: $*" >&2
    exit 1
}
alive() { kill -0 "$host" 2>/dev/null || fail "the host has ended"; }

# within SECONDS WHAT COMMAND...: waits until the command succeeds.
within() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        alive
        [ "$SECONDS" -lt "$end" ] || fail "$what: not in time"
        sleep 0.1
    done
}

# ---- what the host and the broker say

# The host's metrics as text. One request over bash's own sockets: the demo needs no curl.
metrics() {
    local address=$1
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
    printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
    cat <&3
    exec 3>&-
}

# read_metrics: sets handled, failed, dead and swaps from the host's counters.
read_metrics() {
    local sums
    sums=$(metrics "$telemetry" | awk '
        /^wharf_attempts_total\{.*error_type=""/ { handled += $2; next }
        /^wharf_attempts_total\{/ { failed += $2 }
        /^wharf_dead_letters_total\{/ { dead += $2 }
        /^wharf_swaps_total\{.*result="swapped"/ { swaps += $2 }
        END { print handled + 0, failed + 0, dead + 0, swaps + 0 }')
    read -r handled failed dead swaps <<<"$sums"
}

# depth TOPIC: how many messages lie in a topic, counted in the broker.
depth() { "$wharf" tail events "$1" --from-start --json | wc -l; }

# letters: every dead letter as `<cause> <code>`.
letters() {
    "$wharf" dlq show orders/incoming --limit 1000000 --json | awk '
        function field(name) {
            if (!match($0, "\"" name "\":\"[^\"]*\"")) return "-"
            return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 5)
        }
        { print field("cause"), field("code") }'
}

# expected NAME: a number of expected.json.
expected() { sed -n "s/^ *\"$1\": \([0-9]*\),\{0,1\}$/\1/p" "$here/expected.json" | head -n 1; }

# ---- the live summary: a bar that is redrawn on a terminal, a line now and then elsewhere

told=0
show_progress() {
    local of=$1 done=$((handled + dead)) width=30 filled bar rest
    local retried=$((failed > dead ? failed - dead : 0))
    local text="$handled handled · $retried retries · $dead dead letters"
    if [ -t 1 ]; then
        filled=$((done * width / of))
        printf -v bar '%*s' "$filled" ''
        bar=${bar// /█}
        printf -v rest '%*s' "$((width - filled))" ''
        printf '\r\e[K%s%s%s%s%s %d/%d  %s' "$cyan" "$bar" "$dim" "${rest// /░}" "$plain" "$done" "$of" "$text"
        watch=yes
    elif [ "$SECONDS" -ne "$told" ] || [ "$done" -ge "$of" ]; then
        told=$SECONDS
        say "  $done/$of  $text"
    fi
}

end_progress() {
    [ -z "$watch" ] || printf '\n'
    watch=''
}

# feed FILE: begins to publish a file of messages.
start_feed() {
    "$wharf" publish --to orders/incoming --file "$1" --rate "$rate/s" --json >"$run/published" 2>"$run/publish.log" &
    feed=$!
}

# watch_feed TOTAL [AT COMMAND]: shows what becomes of the messages until TOTAL of them have met their end. When AT of
# them have, it runs the command.
watch_feed() {
    local end=$((SECONDS + 60)) at=${2:-0} command=${3:-}
    while :; do
        alive
        read_metrics
        show_progress "$1"
        if [ -n "$command" ] && [ "$((handled + dead))" -ge "$at" ]; then
            end_progress
            "$command"
            command=''
        fi
        [ "$((handled + dead))" -lt "$1" ] || break
        [ "$SECONDS" -lt "$end" ] || fail "of $1 messages only $((handled + dead)) met their end"
        sleep 0.1
    done
    end_progress
    wait "$feed" || fail "publishing failed: $(cat "$run/publish.log")"
    feed=''
}

show_letters() {
    letters | sort | uniq -c | sort -rn | while read -r count cause code; do
        printf '  %s%5d%s  %-10s %s\n' "$red" "$count" "$plain" "$cause" "$code"
    done
}

# ---- checks

wrong=0
# check WHAT FOUND WANTED
check() {
    if [ "$2" = "$3" ]; then
        printf '  %s✓%s %-52s %s\n' "$green" "$plain" "$1" "$2"
    else
        printf '  %s✗ %-52s %s, expected %s%s\n' "$red" "$1" "$2" "$3" "$plain"
        wrong=$((wrong + 1))
    fi
}

# ---- the demo

total=$(expected messages)
half=$((total / 2))
head -n "$half" "$here/messages.jsonl" >"$run/first.jsonl"
tail -n "+$((half + 1))" "$here/messages.jsonl" >"$run/second.jsonl"
cp "$components/orders.wasm" "$run/orders.wasm"

step "1  A host with the order handler, version 1"
"$wharf" run >"$run/host.log" 2>&1 &
host=$!
within 60 "the host's start" grep -q '"started"' "$run/host.log"
telemetry=$(sed -n 's/.*"telemetry":"\([0-9.:]*\)".*/\1/p' "$run/host.log" | head -n 1)
[ -n "$telemetry" ] || fail "the host does not say where its metrics are"
say "  one process, one file as the broker, metrics on http://$telemetry/metrics"

step "2  $half orders, $rate a second: some are broken, some payments answer late"
start_feed "$run/first.jsonl"
watch_feed "$half"

step "3  The dead letters so far, as they lie in the broker"
show_letters
trapped=$(letters | grep -c '^trap ' || true)
check "orders that went out, or are dead letters" "$(($(depth orders.priced) + $(letters | wc -l)))" "$half"
say
say "  One of the $trapped that the handler panicked on, without the frames of the panic itself:"
"$wharf" dlq show orders/incoming --cause trap --limit 1 --preview 120 2>/dev/null |
    sed -e '/!\(std\|core\|__rustc\)::\|!abort$\|note: run with/d' -e '/^ *$/d' -e 's/^/  /'

read_metrics
swaps_before=$swaps

step "4  Version 2 replaces it, while $((total - half)) more orders arrive"
start_feed "$run/second.jsonl"
swap() {
    cp "$components/orders-fixed.wasm" "$run/.orders.wasm.new"
    mv -f "$run/.orders.wasm.new" "$run/orders.wasm"
    say "  orders.wasm is replaced, $((total - handled - dead)) orders are still to come"
}
# A quarter of them still meets the first version.
watch_feed "$total" "$((half + (total - half) / 4))" swap
check "versions swapped in while they arrived" "$((swaps - swaps_before))" 1
trapped=$(letters | grep -c '^trap ' || true)

step "5  The $trapped orders that version 1 panicked on are sent back to version 2"
redriven=$("$wharf" dlq redrive orders/incoming --cause trap --json 2>"$run/redrive.log") ||
    fail "redriving failed: $(cat "$run/redrive.log")"
check "sent back" "$(sed 's/.*"redriven":\([0-9]*\).*/\1/' <<<"$redriven")" "$trapped"
# Until they are priced; where they are not, the counts below say so.
end=$((SECONDS + 20))
until [ "$(depth orders.priced)" -ge "$(expected priced_by_fixed)" ] || [ "$SECONDS" -ge "$end" ]; do
    alive
    sleep 0.1
done

step "6  What the broker holds, and what it should"
check "orders waiting" "$(depth orders)" 0
check "orders waiting to be tried again" "$(depth retry.incoming.orders)" 0
check "orders priced" "$(depth orders.priced)" "$(expected priced_by_fixed)"
check "orders priced, each once" \
    "$("$wharf" tail events orders.priced --from-start --json | grep -o 'order_id[\\]*":[\\]*"[^"\\]*' | sort -u | wc -l)" \
    "$(expected priced_by_fixed)"
check "audit records" "$(depth orders.audit)" "$(expected priced_by_fixed)"
letters >"$run/letters"
check "dead letters: trap" "$(grep -c '^trap ' "$run/letters" || true)" 0
dead_in_both=0
while read -r name count; do
    # `exhausted` is a cause; everything else was rejected with that code.
    check "dead letters: $name" "$(grep -c -e "^$name " -e "^rejected $name\$" "$run/letters" || true)" "$count"
    dead_in_both=$((dead_in_both + count))
done < <(sed -n '/"dead_in_both"/,/}/s/^ *"\([a-z-]*\)": \([0-9]*\),\{0,1\}$/\1 \2/p' "$here/expected.json")
check "dead letters, all" "$(wc -l <"$run/letters")" "$dead_in_both"
check "priced and dead, of $total" "$(($(depth orders.priced) + $(wc -l <"$run/letters")))" "$total"

peak=$(awk '/^VmHWM:/ { print int($2 / 1024) }' "/proc/$host/status" 2>/dev/null || true)
kill -TERM "$host"
stopped=0
wait "$host" || stopped=$?
host=''
check "the host stopped with everything settled, exit code" "$stopped" 0

[ "$wrong" -eq 0 ] || fail "$wrong counts do not add up"
say
say "${green}${bold}Everything adds up${plain}: $total orders in $SECONDS s, the host's peak memory was ${peak:-?} MiB."
