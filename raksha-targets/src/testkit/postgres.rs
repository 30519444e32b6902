//! A schema of its own for each test, in the PostgreSQL that the environment names.
#![allow(clippy::unwrap_used, clippy::expect_used)] // part of tests

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use raksha_core::env::Env;

/// A new schema in the database of `RAKSHA_POSTGRES`, an address without options.
#[derive(Debug)]
pub struct PostgresSchema {
    server: String,
    name: String,
    address: String,
}

impl PostgresSchema {
    /// Makes one.
    ///
    /// # Panics
    /// If there is no such server; the message says what to do.
    pub async fn new() -> Self {
        let server = std::env::var("RAKSHA_POSTGRES").expect(
            "RAKSHA_POSTGRES names no PostgreSQL: run tests/lab/postgres-up.sh, and export what is in POSTGRES_READY in the lab's directory",
        );
        let name = format!(
            "raksha_test_{:016x}",
            u64::from_le_bytes(Env::system().random().unwrap())
        );
        let address = format!("{server}?schema={name}");
        let schema = Self {
            server,
            name,
            address,
        };
        schema.run("CREATE SCHEMA", "").await;
        schema
    }

    /// The address of the schema: more options may follow, each behind `&`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Removes the schema and all that is in it.
    pub async fn remove(self) {
        self.run("DROP SCHEMA", "CASCADE").await;
    }

    /// Ends all connections to the schema, as a restart of the server would.
    pub async fn end_connections(&self) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE usename = current_user AND application_name = $1 AND pid <> pg_backend_pid()";
        let mut connection = PgConnection::connect(&self.server).await.unwrap();
        let theirs = format!("raksha {}", self.name);
        sqlx::query(end)
            .bind(theirs)
            .execute(&mut connection)
            .await
            .unwrap();
    }

    async fn run(&self, before: &str, after: &str) {
        let sql = AssertSqlSafe(format!("{before} {} {after}", self.name));
        let mut connection = PgConnection::connect(&self.server).await.expect(
            "the PostgreSQL that RAKSHA_POSTGRES names must answer; PGPASSWORD must be set, too",
        );
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
}
