//! PostgreSQL: a server that workers on many machines share.

use std::str::FromStr;
use std::time::Duration;

use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgConnection, Row};
use url::Url;

use super::address::{deadline, finish, invalid, options};
use super::database::{Database, Pool};
use super::error::sql_error;

const OPERATION: &str = "open database";

/// Connections of one process, unless the address says otherwise.
const CONNECTIONS: u32 = 4;

/// The options of the scheme.
const OPTIONS: &[(&str, &str)] = &[
    ("host", "directory of the server's socket on this machine"),
    (
        "schema",
        "where the tables are; what the server has for the user unless given",
    ),
    (
        "sslmode",
        "disable, allow, prefer (unless given), require, verify-ca, verify-full",
    ),
    (
        "sslrootcert",
        "file of PEM certificates that the server's must be signed by",
    ),
    ("sslcert", "file with this client's certificate"),
    ("sslkey", "file with its key"),
    (
        "connections",
        "connections that this process may hold; 4 unless given",
    ),
];

/// What every connection is set to: isolation in which each statement acts as if it were alone, so that a condition that it carries
/// still holds when it takes effect, and commits that are on disk before they are reported.
const SETTINGS: &str = "SELECT pg_is_in_recovery() AS standby, \
    set_config('default_transaction_isolation', 'serializable', false), \
    set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' \
        ELSE current_setting('synchronous_commit') END, false), \
    set_config('statement_timeout', $1, false), \
    set_config('idle_in_transaction_session_timeout', $1, false), \
    set_config('search_path', CASE $2 WHEN '' THEN current_setting('search_path') ELSE quote_ident($2) END, false)";

/// A server as an address names it.
#[derive(Debug)]
pub(super) struct Server {
    connect: PgConnectOptions,
    connections: u32,
    schema: String,
    /// For people: no secrets.
    name: String,
}

/// Reads `postgres://user@host:port/database?options`. What is not given is taken from PGHOST, PGPORT, PGUSER, PGDATABASE, PGSSLMODE and
/// their like; the password from PGPASSWORD, PGPASSFILE or ~/.pgpass.
pub(super) fn parse(address: &str) -> Result<(Server, Duration)> {
    let mut url = Url::parse(address).map_err(|e| {
        // The text may hold a password: it is not repeated.
        invalid("the address is not a URL: write postgres://user@host/database").caused_by(e)
    })?;
    if url.password().is_some() {
        return Err(invalid(
            "an address holds no password, since others can see it: it is read from PGPASSWORD, PGPASSFILE or ~/.pgpass",
        ));
    }
    if url.fragment().is_some() || url.path().trim_start_matches('/').contains('/') {
        return Err(invalid("write postgres://user@host/database"));
    }
    let mut options = options(&url)?;
    let deadline = deadline(&mut options)?;
    let host: Option<String> = options.take("host")?;
    let schema: Option<String> = options.take("schema")?;
    let mode: Option<PgSslMode> = options.take("sslmode")?;
    let root: Option<String> = options.take("sslrootcert")?;
    let certificate: Option<String> = options.take("sslcert")?;
    let key: Option<String> = options.take("sslkey")?;
    let connections: Option<std::num::NonZeroU32> = options.take("connections")?;
    finish(options, "postgres", OPTIONS)?;
    url.set_query(None);
    if let Some(directory) = &host {
        // As sqlx looks for it when it looks for the password.
        url.query_pairs_mut().append_pair("host", directory);
    }
    let mut connect = PgConnectOptions::from_str(url.as_str())
        .map_err(|e| sql_error(OPERATION, e))?
        .application_name(format!("raksha {}", schema.as_deref().unwrap_or_default()).trim_end());
    if let Some(mode) = mode {
        connect = connect.ssl_mode(mode);
    }
    if let Some(file) = root {
        connect = connect.ssl_root_cert(file);
    }
    if let Some(file) = certificate {
        connect = connect.ssl_client_cert(file);
    }
    if let Some(file) = key {
        connect = connect.ssl_client_key(file);
    }
    let place = match connect.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", connect.get_host(), connect.get_port()),
    };
    let database = connect.get_database().unwrap_or(connect.get_username());
    let name = format!("PostgreSQL database {database} at {place}");
    let server = Server {
        connections: connections.map_or(CONNECTIONS, std::num::NonZeroU32::get),
        schema: schema.unwrap_or_default(),
        name,
        connect,
    };
    Ok((server, deadline))
}

pub(super) async fn open(server: Server, deadline: Duration, env: Env) -> Result<Database> {
    let Server {
        connect,
        connections,
        schema,
        name,
    } = server;
    let milliseconds = deadline.as_millis().to_string();
    // The first connection is made by hand: its error is told at once, and as it is.
    let first = async {
        let mut connection = PgConnection::connect_with(&connect).await?;
        let standby = set_up(&mut connection, &milliseconds, &schema).await?;
        connection.close().await?;
        Ok(standby)
    };
    let standby = match tokio::time::timeout(deadline, first).await {
        Ok(standby) => standby,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    };
    let standby = standby.map_err(|e| sql_error(OPERATION, e).with("database", &name))?;
    if standby {
        return Err(Error::new(
            Kind::Unsupported,
            OPERATION,
            "the server is a standby, whose answers may be old: name the primary",
        )
        .with("database", name));
    }
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(deadline)
        .after_connect(move |connection, _| {
            let (milliseconds, schema) = (milliseconds.clone(), schema.clone());
            Box::pin(async move {
                match set_up(connection, &milliseconds, &schema).await? {
                    false => Ok(()),
                    true => Err(sqlx::Error::Protocol("the server became a standby".into())),
                }
            })
        })
        .connect_lazy_with(connect);
    Ok(Database {
        pool: Pool::Postgres(pool),
        deadline,
        env,
        name,
    })
}

/// Sets a connection up, and says whether it is one to a standby.
async fn set_up(
    connection: &mut PgConnection,
    milliseconds: &str,
    schema: &str,
) -> sqlx::Result<bool> {
    let row = sqlx::query(SETTINGS)
        .bind(milliseconds)
        .bind(schema)
        .fetch_one(connection)
        .await?;
    row.try_get("standby")
}
