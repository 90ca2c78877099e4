//! The same server, another database.

/// `dsn` with `database` in the place of its own; `database` is a plain lower-case identifier.
pub(crate) fn with_database(dsn: &str, database: &str) -> String {
    let Some((scheme, rest)) = dsn.split_once("://") else {
        return format!("{dsn} dbname={database}");
    };
    let (address, options) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
    let authority = address.rsplit_once('@').map_or(0, |(user, _)| user.len());
    let authority = address[authority..].find('/').map_or(address, |at| &address[..authority + at]);
    format!("{scheme}://{authority}/{database}{options}")
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn the_database_of_a_url_is_replaced_and_its_options_stay() {
        for (dsn, expected) in [
            ("postgres://host", "postgres://host/fresh"),
            ("postgres://user:pass@host:5433/app", "postgres://user:pass@host:5433/fresh"),
            ("postgres://user:pa/ss@host/app", "postgres://user:pa/ss@host/fresh"),
            ("postgresql://a:1,b:2/app?sslmode=disable", "postgresql://a:1,b:2/fresh?sslmode=disable"),
            ("postgres:///app?host=/run", "postgres:///fresh?host=/run"),
        ] {
            assert_eq!(with_database(dsn, "fresh"), expected);
        }
    }

    #[test]
    fn the_last_database_of_a_list_counts() {
        assert_eq!(with_database("host=/run dbname=app", "fresh"), "host=/run dbname=app dbname=fresh");
    }
}
