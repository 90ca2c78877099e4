//! What is said where TLS is not compiled in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Tls;
use crate::config::{Config, ConfigErrorKind, SslMode};

#[test]
fn encryption_is_refused_by_name() {
    for (config, text) in [
        (Config { ssl: Some(SslMode::Require), ..Config::default() }, "option `ssl`"),
        (
            Config { dsn: Some("host=a sslmode=verify-full".into()), ..Config::default() },
            "DSN parameter `sslmode`",
        ),
        (
            Config { dsn: Some("host=a sslrootcert=/ca".into()), ..Config::default() },
            "DSN parameter `sslrootcert`",
        ),
    ] {
        let err = Tls::new(config.settings().unwrap().server.ssl).unwrap_err();
        assert_eq!(
            err.to_string(),
            format!("{text} needs the feature `rustls` or `rustls-ring` of actix-pg")
        );
        assert_eq!(err.kind(), ConfigErrorKind::MissingFeature);
    }
}

/// P23
#[test]
fn prefer_is_plain_with_one_warning_unless_the_server_is_here() {
    for (host, expected) in [("db.example", 1), ("localhost", 0)] {
        let warnings = Arc::new(Warnings::default());
        let config = Config { ssl: Some(SslMode::Prefer), host: host.into(), ..Config::default() };
        tracing::subscriber::with_default(Arc::clone(&warnings), || {
            let tls = Tls::new(config.settings().unwrap().server.ssl).unwrap();
            assert_eq!(tls.mode, crate::tokio_postgres::config::SslMode::Disable);
        });
        assert_eq!(warnings.0.load(Ordering::Relaxed), expected, "{host}");
    }
}

#[derive(Default)]
struct Warnings(AtomicUsize);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
