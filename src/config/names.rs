//! The names of the options and parameters, and which of them a misspelt name may mean.

/// Calls a macro with the names of the options: the fields of `Config`, but for `driver_options`, in their order.
macro_rules! with_options {
    ($then:ident) => {
        $then! {
            driver host port user password database dsn pool_min_size pool_max_size echo ssl use_connection_for_request
            retry_limit retry_interval connect_timeout acquire_timeout max_waiting queue_target queue_interval idle_timeout max_lifetime test_after_idle
            statement_cache_size reset reset_timeout close_timeout command_timeout statement_timeout isolation_level
            server_settings application_name pooler shared_reads shared_reads_slow shared_reads_large reader reader_max_lag read_your_writes
            read_your_writes_key slow_statement slow_acquire long_hold
            repeated_statement
        }
    };
}
pub(super) use with_options;

macro_rules! as_text {
    ($($name:ident)*) => { &[$(stringify!($name)),*] };
}

/// The names of the options.
pub(super) const OPTIONS: &[&str] = with_options!(as_text);

/// The driver parameters: keys beside the options, and parameters of a DSN.
pub(super) const PARAMETERS: &[&str] = &[
    "channel_binding",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "passfile",
    "require_auth",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// The parameters of a DSN that are options elsewhere.
pub(super) const DSN_PARAMETERS: &[&str] =
    &["application_name", "connect_timeout", "dbname", "host", "password", "pooler", "port", "ssl", "user"];

/// The parameters of libpq that are refused.
const OTHERS_OF_LIBPQ: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "krbsrvname",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "replication",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkeylogfile",
    "sslpassword",
    "sslsni",
];

/// Names that other libraries use, or that are too far off for a comparison of letters.
const ALIASES: &[(&str, &str)] = &[
    ("database", "dbname"),
    ("dbname", "database"),
    ("max_inactive_connection_lifetime", "idle_timeout"),
    ("max_connections", "pool_max_size"),
    ("max_size", "pool_max_size"),
    ("min_size", "pool_min_size"),
    ("name", "database"),
    ("pass", "password"),
    ("pool_size", "pool_max_size"),
    ("timeout", "connect_timeout"),
    ("url", "dsn"),
    ("username", "user"),
];

pub(super) fn is_parameter(name: &str) -> bool {
    PARAMETERS.contains(&name)
}

/// Whether the name is publicly known, so that it cannot be a piece of a password.
pub(super) fn is_public(name: &str) -> bool {
    is_known(name)
        || DSN_PARAMETERS.contains(&name)
        || OTHERS_OF_LIBPQ.contains(&name)
        || ALIASES.iter().any(|(alias, _)| *alias == name)
}

pub(super) fn is_known(name: &str) -> bool {
    OPTIONS.contains(&name) || is_parameter(name)
}

/// Finds the option or driver parameter that a misspelt name may mean.
pub(super) fn nearest(name: &str) -> Option<String> {
    nearest_of(name, OPTIONS.iter().chain(PARAMETERS))
}

/// Finds the parameter of a DSN that a misspelt name may mean.
pub(super) fn nearest_in_dsn(name: &str) -> Option<String> {
    nearest_of(name, DSN_PARAMETERS.iter().chain(PARAMETERS))
}

fn nearest_of<'a>(name: &str, known: impl Iterator<Item = &'a &'static str> + Clone) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == lower).map(|(_, meant)| *meant);
    if let Some(meant) = alias.filter(|meant| known.clone().any(|known| known == meant)) {
        return Some(meant.to_owned());
    }
    let slips = if name.len() < 6 { 1 } else { 2 };
    known
        .filter(|known| **known != name)
        .map(|known| (strsim::damerau_levenshtein(&lower, known), known))
        .filter(|(distance, _)| *distance <= slips)
        .min()
        .map(|(_, known)| (*known).to_owned())
}

/// Whether it is a URL: as a rule somebody's DSN, with a password in it.
pub(super) fn is_url(value: &str) -> bool {
    value.contains("://")
}
