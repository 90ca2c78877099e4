//! The types that tell the databases of an application apart.

use std::any::{TypeId, type_name};

use super::Database;

/// The database of an application that has one: what [`Database`], [`Connection`](crate::Connection) and
/// [`RequestTransaction`](crate::RequestTransaction) mean where they are written without a name.
#[derive(Debug)]
pub enum Main {}

impl<D> Database<D> {
    /// Returns a handle of the same database whose type names it, for an application that has several.
    ///
    /// The name is a type of the application. Requests behind the [`middleware`](Self::middleware) of `Database<Reports>` have a
    /// `Connection<Reports>`, a `RequestTransaction<Reports>` and a `web::Data<Database<Reports>>`, beside those of every
    /// other middleware around them. The page [`several_databases`](crate::guide::several_databases) is about such applications.
    ///
    /// No new session is opened. The first name of a pool is the `database` in its lines of the log. `named::<Main>()` goes back,
    /// for a function that takes a `&Database`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_pg::testing::Postgres;
    /// use actix_pg::{Config, Connection, Database, Result};
    /// use actix_web::{App, get};
    ///
    /// enum Reports {} // never made: only its name is used
    ///
    /// #[get("/sales")]
    /// async fn sales(conn: Connection, reports: Connection<Reports>) -> Result<String> {
    ///     let shop: String = conn.query_one_scalar("SELECT current_database()::text", &[]).await?;
    ///     let archive: String = reports.query_one_scalar("SELECT current_database()::text", &[]).await?;
    ///     Ok(format!("{shop} {archive}"))
    /// }
    ///
    /// # #[actix_web::main]
    /// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// # let (one, other) = (Postgres::shared()?.database().await?, Postgres::shared()?.database().await?);
    /// # let (shop, archive) = (one.config(), other.config());
    /// let db = Database::connect(shop).await?;
    /// let reports = Database::connect(archive).await?.named::<Reports>();
    /// let app = App::new().wrap(db.middleware()).wrap(reports.middleware()).service(sales);
    /// # let app = actix_web::test::init_service(app).await;
    /// # let req = actix_web::test::TestRequest::get().uri("/sales").to_request();
    /// # let names = actix_web::test::call_and_read_body(&app, req).await;
    /// # assert_eq!(names, format!("{} {}", one.name(), other.name()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn named<N: 'static>(&self) -> Database<N> {
        if let Some(name) = name_of::<N>() {
            self.untyped.lender().pool().connector().set_name(name);
        }
        Database::new(self.untyped.clone())
    }
}

/// The name that a type gives to a database, if it is not [`Main`].
pub(crate) fn name_of<D: 'static>() -> Option<&'static str> {
    (TypeId::of::<D>() != TypeId::of::<Main>()).then(type_name::<D>)
}
