// This file was generated with `cornucopia`. Do not modify.

#[derive(Debug)]
pub struct AddBookParams<T1: crate::StringSql, T2: crate::StringSql> {
    pub title: T1,
    pub author: T2,
    pub year: i32,
}
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Book {
    pub id: i64,
    pub title: String,
    pub year: i32,
}
pub struct BookBorrowed<'a> {
    pub id: i64,
    pub title: &'a str,
    pub year: i32,
}
impl<'a> From<BookBorrowed<'a>> for Book {
    fn from(BookBorrowed { id, title, year }: BookBorrowed<'a>) -> Self {
        Self {
            id,
            title: title.into(),
            year,
        }
    }
}
use crate::client::async_::GenericClient;
use futures::{self, StreamExt, TryStreamExt};
pub struct BookQuery<'c, 'a, 's, C: GenericClient, T, const N: usize> {
    client: &'c C,
    params: [&'a (dyn postgres_types::ToSql + Sync); N],
    query: &'static str,
    cached: Option<&'s tokio_postgres::Statement>,
    extractor: fn(&tokio_postgres::Row) -> Result<BookBorrowed, tokio_postgres::Error>,
    mapper: fn(BookBorrowed) -> T,
}
impl<'c, 'a, 's, C, T: 'c, const N: usize> BookQuery<'c, 'a, 's, C, T, N>
where
    C: GenericClient,
{
    pub fn map<R>(self, mapper: fn(BookBorrowed) -> R) -> BookQuery<'c, 'a, 's, C, R, N> {
        BookQuery {
            client: self.client,
            params: self.params,
            query: self.query,
            cached: self.cached,
            extractor: self.extractor,
            mapper,
        }
    }
    pub async fn one(self) -> Result<T, tokio_postgres::Error> {
        let row =
            crate::client::async_::one(self.client, self.query, &self.params, self.cached).await?;
        Ok((self.mapper)((self.extractor)(&row)?))
    }
    pub async fn all(self) -> Result<Vec<T>, tokio_postgres::Error> {
        self.iter().await?.try_collect().await
    }
    pub async fn opt(self) -> Result<Option<T>, tokio_postgres::Error> {
        let opt_row =
            crate::client::async_::opt(self.client, self.query, &self.params, self.cached).await?;
        Ok(opt_row
            .map(|row| {
                let extracted = (self.extractor)(&row)?;
                Ok((self.mapper)(extracted))
            })
            .transpose()?)
    }
    pub async fn iter(
        self,
    ) -> Result<
        impl futures::Stream<Item = Result<T, tokio_postgres::Error>> + 'c,
        tokio_postgres::Error,
    > {
        let stream = crate::client::async_::raw(
            self.client,
            self.query,
            crate::slice_iter(&self.params),
            self.cached,
        )
        .await?;
        let mapped = stream
            .map(move |res| {
                res.and_then(|row| {
                    let extracted = (self.extractor)(&row)?;
                    Ok((self.mapper)(extracted))
                })
            })
            .into_stream();
        Ok(mapped)
    }
}
pub struct BooksOfStmt(&'static str, Option<tokio_postgres::Statement>);
pub fn books_of() -> BooksOfStmt {
    BooksOfStmt(
        "SELECT id, title, year FROM books WHERE author = $1 ORDER BY year",
        None,
    )
}
impl BooksOfStmt {
    pub async fn prepare<'a, C: GenericClient>(
        mut self,
        client: &'a C,
    ) -> Result<Self, tokio_postgres::Error> {
        self.1 = Some(client.prepare(self.0).await?);
        Ok(self)
    }
    pub fn bind<'c, 'a, 's, C: GenericClient, T1: crate::StringSql>(
        &'s self,
        client: &'c C,
        author: &'a T1,
    ) -> BookQuery<'c, 'a, 's, C, Book, 1> {
        BookQuery {
            client,
            params: [author],
            query: self.0,
            cached: self.1.as_ref(),
            extractor: |row: &tokio_postgres::Row| -> Result<BookBorrowed, tokio_postgres::Error> {
                Ok(BookBorrowed {
                    id: row.try_get(0)?,
                    title: row.try_get(1)?,
                    year: row.try_get(2)?,
                })
            },
            mapper: |it| Book::from(it),
        }
    }
}
pub struct AddBookStmt(&'static str, Option<tokio_postgres::Statement>);
pub fn add_book() -> AddBookStmt {
    AddBookStmt(
        "INSERT INTO books (title, author, year) VALUES ($1, $2, $3) RETURNING id, title, year",
        None,
    )
}
impl AddBookStmt {
    pub async fn prepare<'a, C: GenericClient>(
        mut self,
        client: &'a C,
    ) -> Result<Self, tokio_postgres::Error> {
        self.1 = Some(client.prepare(self.0).await?);
        Ok(self)
    }
    pub fn bind<'c, 'a, 's, C: GenericClient, T1: crate::StringSql, T2: crate::StringSql>(
        &'s self,
        client: &'c C,
        title: &'a T1,
        author: &'a T2,
        year: &'a i32,
    ) -> BookQuery<'c, 'a, 's, C, Book, 3> {
        BookQuery {
            client,
            params: [title, author, year],
            query: self.0,
            cached: self.1.as_ref(),
            extractor: |row: &tokio_postgres::Row| -> Result<BookBorrowed, tokio_postgres::Error> {
                Ok(BookBorrowed {
                    id: row.try_get(0)?,
                    title: row.try_get(1)?,
                    year: row.try_get(2)?,
                })
            },
            mapper: |it| Book::from(it),
        }
    }
}
impl<'c, 'a, 's, C: GenericClient, T1: crate::StringSql, T2: crate::StringSql>
    crate::client::async_::Params<
        'c,
        'a,
        's,
        AddBookParams<T1, T2>,
        BookQuery<'c, 'a, 's, C, Book, 3>,
        C,
    > for AddBookStmt
{
    fn params(
        &'s self,
        client: &'c C,
        params: &'a AddBookParams<T1, T2>,
    ) -> BookQuery<'c, 'a, 's, C, Book, 3> {
        self.bind(client, &params.title, &params.author, &params.year)
    }
}
