#!/bin/bash
# PostgreSQL on 127.0.0.1:5433: a cluster of its own, role and database `raksha`, password asked for (scram).
# The server does not run as root; it runs as Debian's user postgres.
. "$(dirname "$(readlink -f "$0")")/lab-lib.sh"
PORT=${POSTGRES_PORT:-5433}
P=$LAB/postgres
PASSWORD=lab-only

rm -f "$LAB/POSTGRES_READY"
apt_need postgresql openssl
BIN=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups env -C / HOME=/var/lib/postgresql "$@"; }

mkdir -p "$P" && chown postgres:postgres "$P" && chmod 711 "$P"
if [ ! -s "$P/data/PG_VERSION" ]; then
    rm -rf "$P/data"
    as_postgres "$BIN/initdb" -D "$P/data" -E UTF8 --locale=C.UTF-8 \
        --auth-local=peer --auth-host=scram-sha-256 >>"$LAB/log/postgres.out" 2>&1 ||
        die "initdb failed, see $LAB/log/postgres.out"
fi
# A certificate of its own: clients that want one are told to trust $P/server.crt.
if [ ! -s "$P/server.crt" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=raksha-lab \
        -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
        -keyout "$P/server.key" -out "$P/server.crt" 2>>"$LAB/log/postgres.out" || die "openssl failed"
    chown postgres:postgres "$P/server.key" "$P/server.crt"
    chmod 600 "$P/server.key" && chmod 644 "$P/server.crt"
fi
# Durable as it comes: fsync and synchronous_commit are on.
start_daemon postgres setpriv --reuid=postgres --regid=postgres --init-groups env -C / \
    "$BIN/postgres" -D "$P/data" -p "$PORT" -k "$P" \
    -c ssl=on -c ssl_cert_file="$P/server.crt" -c ssl_key_file="$P/server.key" \
    -c listen_addresses=127.0.0.1 -c max_connections=200 -c shared_buffers=64MB
psql_admin() { as_postgres "$BIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$P" -p "$PORT" -d "${DB:-postgres}" "$@"; }
wait_for 120 "PostgreSQL" psql_admin -c 'SELECT 1'

# CREATEDB: tests make databases of their own and remove them.
[ "$(psql_admin -Atc "SELECT 1 FROM pg_roles WHERE rolname = 'raksha'")" = 1 ] ||
    psql_admin -c "CREATE ROLE raksha LOGIN CREATEDB PASSWORD '$PASSWORD'"
[ "$(psql_admin -Atc "SELECT 1 FROM pg_database WHERE datname = 'raksha'")" = 1 ] ||
    psql_admin -c "CREATE DATABASE raksha OWNER raksha"

cat >"$LAB/POSTGRES_READY" <<READY
RAKSHA_POSTGRES=postgres://raksha@127.0.0.1:$PORT/raksha
PGPASSWORD=$PASSWORD
RAKSHA_POSTGRES_CA=$P/server.crt
READY
say "PostgreSQL is ready on 127.0.0.1:$PORT"
