#!/bin/bash
# Stops the lab's PostgreSQL; with --wipe also removes its data.
. "$(dirname "$(readlink -f "$0")")/lab-lib.sh"
rm -f "$LAB/POSTGRES_READY"
if running postgres; then
    # Fast shutdown: clients are disconnected. TERM would wait for them to leave.
    read -r pid _ <"$LAB/run/postgres.pid"
    kill -INT "$pid" 2>/dev/null || true
fi
stop_daemon postgres 60
if [ "${1:-}" = --wipe ]; then
    rm -rf "$LAB/postgres"
    say "PostgreSQL data removed"
fi
