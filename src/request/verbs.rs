//! The query verbs as methods of their own, so that nobody has to import a trait for them.

/// Writes the verbs of a [`GenericClient`](crate::GenericClient) as inherent methods.
macro_rules! verbs {
    ($client:ty) => {
        impl $client {
            /// Runs a query and collects its rows.
            pub async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
                GenericClient::query(self, sql, params).await
            }

            /// Runs a query for exactly one row.
            ///
            /// # Errors
            ///
            /// [`Error::NoRows`](crate::Error::NoRows), and [`Error::TooManyRows`](crate::Error::TooManyRows) as
            /// [`query_opt`](Self::query_opt).
            pub async fn query_one(&self, sql: &str, params: Params<'_>) -> Result<Row> {
                GenericClient::query_one(self, sql, params).await
            }

            /// Runs a query for one row or none.
            ///
            /// # Errors
            ///
            /// [`Error::TooManyRows`](crate::Error::TooManyRows). The other rows are not kept. They are read away, so that a
            /// change takes effect and a transaction goes on; outside of a transaction, many rows of what only reads are
            /// cancelled.
            pub async fn query_opt(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>> {
                GenericClient::query_opt(self, sql, params).await
            }

            /// Runs a query and collects the first column of its rows.
            pub async fn query_scalar<T: FromSqlOwned>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> Result<Vec<T>> {
                GenericClient::query_scalar(self, sql, params).await
            }

            /// Runs a query for exactly one row, and takes its first column.
            ///
            /// # Errors
            ///
            /// [`Error::NoRows`](crate::Error::NoRows) and [`Error::TooManyRows`](crate::Error::TooManyRows).
            pub async fn query_one_scalar<T: FromSqlOwned>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> Result<T> {
                GenericClient::query_one_scalar(self, sql, params).await
            }

            /// Runs a query for one row or none, and takes its first column.
            ///
            /// # Errors
            ///
            /// [`Error::TooManyRows`](crate::Error::TooManyRows).
            pub async fn query_opt_scalar<T: FromSqlOwned>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> Result<Option<T>> {
                GenericClient::query_opt_scalar(self, sql, params).await
            }

            /// Runs a query whose rows are read one by one, so that a large result needs little memory.
            ///
            /// Until the [`RowStream`] has been read to its end or dropped, other statements of the request are refused
            /// with [`Error::Busy`](crate::Error::Busy). Dropped early, the query is cancelled on the server, which
            /// fails a transaction that it runs in. `command_timeout` bounds the wait for the first answer, not the
            /// reading.
            pub async fn query_raw(&self, sql: &str, params: Params<'_>) -> Result<RowStream> {
                GenericClient::query_raw(self, sql, params).await
            }

            /// Runs a statement and returns the number of rows it affected.
            pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64> {
                GenericClient::execute(self, sql, params).await
            }

            /// Runs one or more statements, separated by semicolons, without parameters or results.
            ///
            /// They are neither prepared nor cached. A `COPY` of the client's data has verbs of its own; here it fails, and costs
            /// the session. PostgreSQL runs them in
            /// [one implicit transaction](https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT),
            /// if they are in no other.
            pub async fn batch_execute(&self, sql: &str) -> Result<()> {
                GenericClient::batch_execute(self, sql).await
            }

            /// Starts a `COPY … FROM STDIN`. Until it is finished or dropped, other statements of the request are refused
            /// with [`Error::Busy`](crate::Error::Busy).
            ///
            /// One that the server refuses to start costs the session: later statements fail with
            /// [`Error::SessionLost`](crate::Error::SessionLost) until [`release`](crate::Connection::release). So can one that
            /// fails later; the session is asked before it is used again. Every session on which a copy was started is reset
            /// when it goes back, whatever the option `reset` says.
            pub async fn copy_in(&self, sql: &str) -> Result<CopyIn> {
                GenericClient::copy_in(self, sql).await
            }

            /// Starts a `COPY … TO STDOUT`. Until it is read to its end or dropped, other statements of the request are
            /// refused with [`Error::Busy`](crate::Error::Busy). An error after the data, of a commit too, is its last item.
            pub async fn copy_out(&self, sql: &str) -> Result<CopyOut> {
                GenericClient::copy_out(self, sql).await
            }
        }
    };
}

pub(super) use verbs;
