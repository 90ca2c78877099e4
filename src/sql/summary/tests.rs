//! Statements, and what they are summarized to.

use proptest::prelude::*;

use super::*;

#[test]
fn operations_and_targets_in_their_order() {
    for (sql, expected) in [
        ("SELECT name FROM users WHERE id = $1", "SELECT users"),
        ("select * from public.users u", "SELECT public.users"),
        ("SELECT 1", "SELECT"),
        (
            "INSERT INTO shipping_details (order_id) SELECT id FROM orders",
            "INSERT shipping_details SELECT orders",
        ),
        ("SELECT * FROM songs, artists", "SELECT songs artists"),
        (
            "SELECT * FROM songs s JOIN artists a ON a.id = s.artist LEFT JOIN albums USING (id)",
            "SELECT songs artists albums",
        ),
        ("SELECT * FROM \"song list\" AS l", "SELECT \"song list\""),
        (
            "SELECT (SELECT max(id) FROM b), c FROM a WHERE x IN (SELECT y FROM d)",
            "SELECT SELECT b a SELECT d",
        ),
        ("SELECT * FROM (SELECT * FROM inner_table) AS x, other", "SELECT SELECT inner_table other"),
        (
            "WITH recent AS (SELECT * FROM visits) SELECT * FROM recent JOIN users USING (id)",
            "SELECT visits SELECT users",
        ),
        (
            "WITH RECURSIVE t(n) AS (VALUES (1) UNION SELECT n + 1 FROM t) SELECT n FROM t",
            "VALUES SELECT SELECT",
        ),
        (
            "WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone",
            "DELETE a INSERT b SELECT",
        ),
        ("UPDATE ONLY users SET name = 'x' FROM teams WHERE teams.id = 1", "UPDATE users teams"),
        ("DELETE FROM users USING teams WHERE true", "DELETE users teams"),
        (
            "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET x = 1 WHEN NOT MATCHED THEN INSERT VALUES (1)",
            "MERGE a b",
        ),
        ("INSERT INTO t VALUES (1, 'secret') ON CONFLICT (id) DO UPDATE SET x = 1", "INSERT t"),
        ("SELECT id FROM jobs FOR UPDATE SKIP LOCKED", "SELECT jobs"),
        ("SELECT extract(year FROM born), a IS DISTINCT FROM b, substring(x FROM 1) FROM t", "SELECT t"),
        ("SELECT * FROM generate_series(1, 3) AS g, t", "SELECT t"),
        ("SELECT a FROM t ORDER BY a USING <", "SELECT t"),
        ("SELECT 1 FROM a UNION ALL SELECT 2 FROM b", "SELECT a SELECT b"),
        ("VALUES (1), (2)", "VALUES"),
        ("TABLE users", "TABLE users"),
        ("CREATE TABLE IF NOT EXISTS songs (id int)", "CREATE TABLE songs"),
        ("CREATE UNIQUE INDEX CONCURRENTLY ON songs (id)", "CREATE INDEX"),
        (
            "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT secret FROM t'",
            "CREATE FUNCTION f",
        ),
        ("TRUNCATE TABLE a", "TRUNCATE a"),
        ("COPY users (name) FROM STDIN", "COPY users"),
        ("COPY (SELECT * FROM users) TO STDOUT", "COPY SELECT users"),
        ("CALL cleanup(1)", "CALL cleanup"),
        ("SET app.tenant = secret", "SET"),
        ("LISTEN jobs", "LISTEN"),
        ("BEGIN", "BEGIN"),
        ("begin; commit", "BATCH"),
        ("SELECT * FROM a; SELECT * FROM a;", "BATCH SELECT a"),
        ("SELECT 1;", "SELECT"),
        ("-- nothing\n ;; ", ""),
        ("", ""),
        ("SELECT 'it\\'s secret' FROM t", "SELECT"),
        ("SELECT * FROM \"a\nb\"", "SELECT \"a\\nb\""),
    ] {
        assert_eq!(summary(sql), expected, "{sql}");
    }
}

#[test]
fn it_is_short_and_no_name_is_cut() {
    let name = "a".repeat(100);
    assert_eq!(summary(&format!("SELECT * FROM {name}, {name}b, {name}c")), format!("SELECT {name} {name}b"));
    assert!(summary(&"SELECT * FROM a JOIN ".repeat(100_000)).chars().count() <= MOST);
}

proptest! {
    #[test]
    fn whatever_comes_has_a_short_summary(text in "[A-Za-z0-9_,;.()$'\" \n]{0,200}", sql in "(SELECT|FROM|INTO|WITH|,|\\(|\\)|;| a | \"b\" |'c'|UPDATE|USING){0,30}") {
        for sql in [text, sql] {
            let summary = summary(&sql);
            prop_assert!(summary.chars().count() <= MOST && summary.lines().count() <= 1, "{summary}");
        }
    }
}
