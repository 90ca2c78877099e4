//! The driver's optional types are features of this crate: nobody needs a second dependency for them.

use actix_pg::testing::Postgres;
use actix_pg::{Config, Database};
use uuid::Uuid;

#[actix_web::test]
async fn a_uuid_is_read_and_written() {
    let postgres = Postgres::shared().expect("a PostgreSQL server");
    let database =
        postgres.database_with("CREATE TABLE things (id uuid PRIMARY KEY)").await.expect("a database");
    let config = Config { pool_min_size: 0, ..database.config() };
    let conn = Database::connect(config).await.expect("a connected database").connection();
    let id = Uuid::from_u128(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8);
    conn.execute("INSERT INTO things VALUES ($1)", &[&id]).await.expect("a row");
    let row = conn.query_one("SELECT id, id::text FROM things WHERE id = $1", &[&id]).await.expect("the row");
    assert_eq!(row.get::<_, Uuid>(0), id);
    assert_eq!(row.get::<_, String>(1), "67e55044-10b1-426f-9247-bb680e5fe0c8");
    assert_eq!(conn.query_scalar::<Uuid>("SELECT id FROM things", &[]).await.expect("the row"), [id]);
}
