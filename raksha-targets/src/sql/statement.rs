//! A statement with its values, and the rows that it gives: the same for every database.

use bytes::Bytes;
use raksha_core::Result;
use sqlx::Row as _;
use sqlx::query::Query;
use sqlx::{Encode, Type};

use super::error::sql_error;

/// A statement in the SQL that all databases have in common, and its values for `$1`, `$2` ...
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// What it is for, for errors.
    pub(super) operation: &'static str,
    sql: &'static str,
    values: Vec<Value>,
}

/// A value of a statement.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Bytes(Bytes),
}

/// A statement without its values.
pub(super) fn statement(operation: &'static str, sql: &'static str) -> Statement {
    Statement {
        operation,
        sql,
        values: Vec::new(),
    }
}

impl Statement {
    /// The same with the next value.
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// As sqlx has it.
    pub(super) fn query<DB>(&self) -> Query<'static, DB, DB::Arguments>
    where
        DB: sqlx::Database,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        Vec<u8>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let query = sqlx::query(self.sql);
        self.values.iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text.clone()),
            Value::Number(number) => query.bind(*number),
            Value::Bytes(bytes) => query.bind(bytes.to_vec()),
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// A row that a statement gave.
pub(super) enum Row {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
}

/// Gives a column of a row, whatever database it is of.
macro_rules! column {
    ($row:expr, $column:expr) => {
        match $row {
            #[cfg(feature = "sqlite")]
            Row::Sqlite(row) => row.try_get($column),
            #[cfg(feature = "postgres")]
            Row::Postgres(row) => row.try_get($column),
        }
        .map_err(|e| sql_error("read database", e))
    };
}

impl Row {
    pub(super) fn text(&self, name: &'static str) -> Result<String> {
        column!(self, name)
    }

    pub(super) fn number(&self, name: &'static str) -> Result<i64> {
        column!(self, name)
    }

    pub(super) fn bytes(&self, name: &'static str) -> Result<Bytes> {
        let bytes: Result<Vec<u8>> = column!(self, name);
        bytes.map(Bytes::from)
    }
}
