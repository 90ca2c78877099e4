//! What a throwaway server is configured with.

/// Written to `postgresql.conf` ahead of the caller's own; the last one of a name counts.
const DEFAULTS: [(&str, &str); 10] = [
    ("listen_addresses", "127.0.0.1"),
    // Nobody needs the data after a crash of the machine.
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    // The files may be in memory.
    ("max_wal_size", "256MB"),
    // Every test may have a pool of its own.
    ("max_connections", "200"),
    // Stays in the server's folder, and so goes with it; /dev/shm is tiny in many containers.
    ("dynamic_shared_memory_type", "mmap"),
    // The same on every machine.
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] "),
];

/// The lines to append to `postgresql.conf`.
pub(crate) fn lines<'a>(own: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    DEFAULTS
        .into_iter()
        .chain(own)
        .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\\', r"\\").replace('\'', "''")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_the_caller_comes_last_and_is_quoted() {
        let lines = lines([("fsync", "on"), ("cluster_name", r"it's \ mine")]);
        assert!(lines.starts_with("listen_addresses = '127.0.0.1'\nfsync = 'off'\n"));
        assert!(lines.ends_with("fsync = 'on'\ncluster_name = 'it''s \\\\ mine'\n"));
    }
}
