//! The query verbs as methods of their own, so that nobody has to import a trait for them.

/// Writes the verbs of a [`GenericClient`](crate::GenericClient) as inherent methods.
///
/// The client has an `executor()`, on which they run: what is the same for every type that names a database, so that it is compiled once.
///
/// The examples call the client `$me`. Each begins with `$begin`, which opens the block of code and makes the client: those
/// of `Connection` run, the others are compiled.
macro_rules! verbs {
    ([$($generics:tt)*] $client:ty, $me:literal, $begin:literal) => {
        impl<$($generics)*> $client {
            /// Runs a query and collects its rows.
            ///
            /// # Errors
            ///
            /// [`Error::Postgres`](crate::Error::Postgres) if the server refuses the query or a parameter does not fit;
            /// those of [every statement](Self#errors).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the query: see [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            #[doc = concat!("let rows = ", $me, ".query(\"SELECT id, name FROM users ORDER BY id\", &[]).await?;")]
            /// let names: Vec<&str> = rows.iter().map(|row| row.get("name")).collect();
            /// assert_eq!(names, ["ada", "grace"]);
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Vec<Row>>> + Send {
                GenericClient::query(self.executor(), sql, params)
            }

            /// Runs a query for exactly one row.
            ///
            /// # Errors
            ///
            /// [`Error::NoRows`](crate::Error::NoRows) and [`Error::TooManyRows`](crate::Error::TooManyRows); those of
            /// [`query`](Self::query). Surplus rows are handled as in [`query_opt`](Self::query_opt).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the query: see [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            #[doc = concat!("let row = ", $me, ".query_one(\"SELECT name FROM users WHERE id = $1\", &[&1_i64]).await?;")]
            /// assert_eq!(row.get::<_, &str>("name"), "ada");
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_one(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Row>> + Send {
                GenericClient::query_one(self.executor(), sql, params)
            }

            /// Runs a query for one row or none. [`or_not_found`](crate::OrNotFound::or_not_found) makes a 404 of `None`.
            ///
            /// # Errors
            ///
            /// [`Error::TooManyRows`](crate::Error::TooManyRows); those of [`query`](Self::query). Surplus rows are read and
            /// thrown away, so that a change takes effect and a transaction goes on. Outside of a transaction, a query that
            /// only reads is cancelled instead if there are many.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the query: see [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            #[doc = concat!("let row = ", $me, ".query_opt(\"SELECT name FROM users WHERE id = $1\", &[&9_i64]).await?;")]
            /// assert!(row.is_none());
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_opt(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<Option<Row>>> + Send {
                GenericClient::query_opt(self.executor(), sql, params)
            }

            /// Runs a query and reads its rows into a type: a struct that derives [`FromRow`](trait@crate::FromRow), or a tuple.
            ///
            /// # Errors
            ///
            /// [`Error::Row`](crate::Error::Row) if the columns do not fit the type, in which case the query is not sent, or if a value
            /// does not; those of [`query`](Self::query).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the query: see [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// use actix_pg::FromRow;
            ///
            /// #[derive(FromRow)]
            /// struct User {
            ///     id: i64,
            ///     name: String,
            /// }
            ///
            #[doc = concat!("let users = ", $me, ".query_as::<User>(\"SELECT id, name FROM users ORDER BY id\", &[]).await?;")]
            /// assert_eq!((users[1].id, users[1].name.as_str()), (2, "grace"));
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_as<T: FromRow>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> impl Future<Output = Result<Vec<T>>> + Send {
                GenericClient::query_as(self.executor(), sql, params)
            }

            /// Runs a query for exactly one row, and reads it into a type.
            ///
            /// # Errors
            ///
            /// Those of [`query_one`](Self::query_one) and of [`query_as`](Self::query_as).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the query: see [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            #[doc = concat!("let (least, most): (i64, i64) = ", $me, ".query_one_as(\"SELECT min(id), max(id) FROM users\", &[]).await?;")]
            /// assert_eq!((least, most), (1, 2));
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_one_as<T: FromRow>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> impl Future<Output = Result<T>> + Send {
                GenericClient::query_one_as(self.executor(), sql, params)
            }

            /// Runs a query for one row or none, and reads it into a type.
            ///
            /// # Errors
            ///
            /// Those of [`query_opt`](Self::query_opt) and of [`query_as`](Self::query_as).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the query: see [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// use actix_pg::FromRow;
            ///
            /// #[derive(FromRow)]
            /// struct User {
            ///     name: String,
            /// }
            ///
            #[doc = concat!("let user = ", $me, ".query_opt_as::<User>(\"SELECT name FROM users WHERE id = $1\", &[&2_i64]).await?;")]
            /// assert_eq!(user.map(|user| user.name).as_deref(), Some("grace"));
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_opt_as<T: FromRow>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> impl Future<Output = Result<Option<T>>> + Send {
                GenericClient::query_opt_as(self.executor(), sql, params)
            }

            /// Runs a query and collects the first column of its rows.
            ///
            /// # Errors
            ///
            /// Those of [`query`](Self::query). A value that does not fit `T` is an
            /// [`Error::Postgres`](crate::Error::Postgres); NULL fits `Option<T>` alone.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the query: see [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            #[doc = concat!("let names: Vec<String> = ", $me, ".query_scalar(\"SELECT name FROM users ORDER BY id\", &[]).await?;")]
            /// assert_eq!(names, ["ada", "grace"]);
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_scalar<T: FromSqlOwned>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> impl Future<Output = Result<Vec<T>>> + Send {
                GenericClient::query_scalar(self.executor(), sql, params)
            }

            /// Runs a query for exactly one row, and takes its first column.
            ///
            /// # Errors
            ///
            /// Those of [`query_one`](Self::query_one) and of [`query_scalar`](Self::query_scalar).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the query: see [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            #[doc = concat!("let users: i64 = ", $me, ".query_one_scalar(\"SELECT count(*) FROM users\", &[]).await?;")]
            /// assert_eq!(users, 2);
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_one_scalar<T: FromSqlOwned>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> impl Future<Output = Result<T>> + Send {
                GenericClient::query_one_scalar(self.executor(), sql, params)
            }

            /// Runs a query for one row or none, and takes its first column.
            ///
            /// # Errors
            ///
            /// Those of [`query_opt`](Self::query_opt) and of [`query_scalar`](Self::query_scalar).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the query: see [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// let name: Option<String> =
            #[doc = concat!("    ", $me, ".query_opt_scalar(\"SELECT name FROM users WHERE id = $1\", &[&2_i64]).await?;")]
            /// assert_eq!(name.as_deref(), Some("grace"));
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_opt_scalar<T: FromSqlOwned>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> impl Future<Output = Result<Option<T>>> + Send {
                GenericClient::query_opt_scalar(self.executor(), sql, params)
            }

            /// Runs a query whose rows are read one by one, so that a large result needs little memory.
            ///
            /// The [`RowStream`] has the session for itself until it has been read to its end or dropped. Other statements of
            /// the request are refused with [`Error::Busy`](crate::Error::Busy) meanwhile. `command_timeout` bounds the wait
            /// for the first answer, not the reading.
            ///
            /// # Errors
            ///
            /// Those of [`query`](Self::query). What fails later, while rows are read, is an item of the stream.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future, or the stream before its end, cancels the query on the server, and fails a transaction that
            /// it runs in. See [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// use futures_util::TryStreamExt as _;
            ///
            #[doc = concat!("let mut rows = ", $me, ".query_raw(\"SELECT id FROM users\", &[]).await?;")]
            /// let mut sum = 0;
            /// while let Some(row) = rows.try_next().await? {
            ///     sum += row.get::<_, i64>("id");
            /// }
            /// assert_eq!(sum, 3);
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_raw(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<RowStream>> + Send {
                GenericClient::query_raw(self.executor(), sql, params)
            }

            /// Runs a query whose rows are read one by one, each into a type. Otherwise as [`query_raw`](Self::query_raw).
            ///
            /// # Errors
            ///
            /// Those of [`query_raw`](Self::query_raw), and [`Error::Row`](crate::Error::Row) if the columns do not fit the type, in
            /// which case the query is not sent. A row that does not fit is an item of the stream, which goes on.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future, or the stream before its end, cancels the query on the server, and fails a transaction that
            /// it runs in. See [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// use actix_pg::FromRow;
            /// use futures_util::TryStreamExt as _;
            ///
            /// #[derive(FromRow)]
            /// struct User {
            ///     id: i64,
            /// }
            ///
            #[doc = concat!("let mut users = ", $me, ".query_raw_as::<User>(\"SELECT id FROM users\", &[]).await?;")]
            /// let mut sum = 0;
            /// while let Some(user) = users.try_next().await? {
            ///     sum += user.id;
            /// }
            /// assert_eq!(sum, 3);
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn query_raw_as<T: FromRow>(
                &self,
                sql: &str,
                params: Params<'_>,
            ) -> impl Future<Output = Result<RowStream<T>>> + Send {
                GenericClient::query_raw_as(self.executor(), sql, params)
            }

            /// Runs a statement and returns the number of rows it affected.
            ///
            /// # Errors
            ///
            /// Those of [`query`](Self::query).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels the statement on the server, and fails a transaction that it runs in. Outside of a
            /// transaction it is not known whether it took effect. See [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// let sql = "UPDATE users SET name = $2 WHERE id = $1";
            #[doc = concat!("assert_eq!(", $me, ".execute(sql, &[&1_i64, &\"lovelace\"]).await?, 1);")]
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn execute(&self, sql: &str, params: Params<'_>) -> impl Future<Output = Result<u64>> + Send {
                GenericClient::execute(self.executor(), sql, params)
            }

            /// Runs a statement once for each row of parameters, and returns the number of rows it affected in all.
            ///
            /// The rows are sent one behind the other, without waiting for the answers between them. Either all of them take
            /// effect or none does: in the transaction that is open, or else in one that is begun and committed for them. That takes
            /// one round trip, and one more for `BEGIN`. At most 256 rows, or 256 KiB of parameters, are on their way at a time, so a
            /// longer input takes a round trip for each such part, and no more memory.
            ///
            /// A row is anything that is a slice of parameters: an array, a `Vec`, a slice. The parameters are of one type, such as
            /// `i64`, or else `&(dyn ToSql + Sync)` or `Box<dyn ToSql + Sync + Send>`. Without a row, nothing is sent.
            ///
            /// Outside of a transaction, other statements of the request wait until the batch has ended.
            ///
            /// # Errors
            ///
            /// [`Error::Batch`](crate::Error::Batch) with the index of the first row that fails. Its source is
            /// the error that [`execute`](Self::execute) would have returned. [`Error::Begin`](crate::Error::Begin),
            /// [`Error::CommitRefused`](crate::Error::CommitRefused) and [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown), as of
            /// a transaction; those of [every statement](Self#errors). On any of them but `OutcomeUnknown`, no row has taken effect;
            /// a transaction that was open before can only be rolled back if one has been sent.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future cancels what has been sent, and undoes it, and fails a transaction that it runs in. In one of its
            /// own, all rows may have taken effect if they had been sent, or none. See
            /// [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// use actix_pg::tokio_postgres::types::ToSql;
            ///
            /// let users = [(3_i64, "edsger"), (4, "barbara")];
            /// let rows = users.iter().map(|(id, name)| [id as &(dyn ToSql + Sync), name]);
            #[doc = concat!("assert_eq!(", $me, ".execute_many(\"INSERT INTO users VALUES ($1, $2)\", rows).await?, 2);")]
            ///
            #[doc = concat!("assert_eq!(", $me, ".execute_many(\"DELETE FROM users WHERE id = $1\", [[3_i64], [4]]).await?, 2);")]
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn execute_many<P, R>(
                &self,
                sql: &str,
                rows: impl IntoIterator<Item = R, IntoIter: Send>,
            ) -> impl Future<Output = Result<u64>> + Send
            where
                P: BorrowToSql + Sync,
                R: AsRef<[P]> + Send + Sync,
            {
                GenericClient::execute_many(self.executor(), sql, rows)
            }

            /// Runs different statements, each with its parameters, and returns the number of rows that each affected.
            ///
            /// They are sent and take effect together as the rows of [`execute_many`](Self::execute_many) do. One that the session has
            /// not prepared yet is prepared after those before it have been answered, so that it finds the table that they make.
            ///
            /// Queries that only read need no batch: [`join!`](tokio::join) sends them together, too, and returns their rows.
            ///
            /// # Errors
            ///
            /// Those of [`execute_many`](Self::execute_many).
            ///
            /// # Cancel safety
            ///
            /// As [`execute_many`](Self::execute_many).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            #[doc = concat!("let affected = ", $me)]
            ///     .batch(&[
            ///         ("UPDATE users SET name = $2 WHERE id = $1", &[&1_i64, &"lovelace"]),
            ///         ("INSERT INTO users VALUES ($1, $2)", &[&3_i64, &"edsger"]),
            ///     ])
            ///     .await?;
            /// assert_eq!(affected, [1, 1]);
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn batch(
                &self,
                statements: &[(&str, Params<'_>)],
            ) -> impl Future<Output = Result<Vec<u64>>> + Send {
                GenericClient::batch(self.executor(), statements)
            }

            /// Runs one or more statements, separated by semicolons, without parameters or results.
            ///
            /// They are neither prepared nor cached. Outside of a transaction, PostgreSQL runs them in
            /// [one implicit transaction](https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT):
            /// if one fails, none has taken effect.
            ///
            /// # Errors
            ///
            /// [`Error::Postgres`](crate::Error::Postgres) of the first statement that fails; those of
            /// [every statement](Self#errors). A `COPY` from or to the client fails, and one from the client costs the session: it has
            /// verbs of its own, [`copy_in`](Self::copy_in) and [`copy_out`](Self::copy_out).
            ///
            /// # Cancel safety
            ///
            /// As [`execute`](Self::execute): what has not ended is cancelled.
            ///
            /// # Examples
            ///
            #[doc = $begin]
            #[doc = concat!($me, ".batch_execute(\"CREATE TABLE pages (id int); INSERT INTO pages VALUES (1)\").await?;")]
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn batch_execute(&self, sql: &str) -> impl Future<Output = Result<()>> + Send {
                GenericClient::batch_execute(self.executor(), sql)
            }

            /// Returns a client whose calls each have to be over within this time, with the borrow that they need. It has all verbs.
            ///
            /// Past it, a call fails with [`Error::TimedOut`](crate::Error::TimedOut), and its statement is cancelled. For row
            /// streams and copies it bounds the wait for the first answer, not the reading.
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// let bound = std::time::Duration::from_secs(2);
            #[doc = concat!("let rows = ", $me, ".with_timeout(bound).query(\"SELECT id, name FROM users\", &[]).await?;")]
            /// assert_eq!(rows.len(), 2);
            /// # Ok(())
            /// # }
            /// ```
            pub fn with_timeout(&self, timeout: std::time::Duration) -> crate::WithTimeout<'_, Self> {
                GenericClient::with_timeout(self, timeout)
            }

            /// Starts a `COPY … FROM STDIN`, and returns the sink for its data.
            ///
            /// The copy has the session for itself until it is finished or dropped. Other statements of the request are refused
            /// with [`Error::Busy`](crate::Error::Busy) meanwhile. The session is reset when it goes back, whatever the option
            /// `reset` says.
            ///
            /// # Errors
            ///
            /// Those of [`query`](Self::query). A copy that the server refuses to start costs the session: later statements fail
            /// with [`Error::SessionLost`](crate::Error::SessionLost) until [`release`](crate::Connection::release). One that fails
            /// later may cost it: the session is checked before it is used again. What is wrong with the data is the error of
            /// [`CopyIn::finish`].
            ///
            /// # Cancel safety
            ///
            /// Dropping the future, or the sink before [`finish`](CopyIn::finish), copies nothing, and fails a transaction that the
            /// copy runs in. See [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// use futures_util::SinkExt as _;
            ///
            #[doc = concat!("let mut copy = ", $me, ".copy_in(\"COPY users (id, name) FROM STDIN (FORMAT csv)\").await?;")]
            /// copy.send("3,edsger\n4,barbara\n".into()).await?;
            /// assert_eq!(copy.finish().await?, 2);
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn copy_in(&self, sql: &str) -> impl Future<Output = Result<CopyIn>> + Send {
                GenericClient::copy_in(self.executor(), sql)
            }

            /// Starts a `COPY … TO STDOUT`, and returns the stream of its data.
            ///
            /// The copy has the session for itself until it is read to its end or dropped. Other statements of the request are
            /// refused with [`Error::Busy`](crate::Error::Busy) meanwhile.
            ///
            /// # Errors
            ///
            /// Those of [`query`](Self::query). What fails later, that of a commit too, is the last item of the stream.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future, or the stream before its end, cancels the copy on the server, and fails a transaction that it
            /// runs in. See [cancel safety](Self#cancel-safety).
            ///
            /// # Examples
            ///
            #[doc = $begin]
            /// use futures_util::TryStreamExt as _;
            ///
            #[doc = concat!("let copy = ", $me, ".copy_out(\"COPY users TO STDOUT (FORMAT csv)\").await?;")]
            /// let pieces: Vec<_> = copy.try_collect().await?;
            /// assert_eq!(pieces.concat(), b"1,ada\n2,grace\n");
            /// # Ok(())
            /// # }
            /// ```
            #[track_caller]
            pub fn copy_out(&self, sql: &str) -> impl Future<Output = Result<CopyOut>> + Send {
                GenericClient::copy_out(self.executor(), sql)
            }
        }
    };
    ($client:ty, $me:literal, $begin:literal) => {
        verbs!([] $client, $me, $begin);
    };
}

pub(super) use verbs;
