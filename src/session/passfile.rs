//! libpq's password file, `.pgpass`: lines of `host:port:database:user:password`.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use crate::config::{Host, Server};

/// Where the sockets of a server on this machine are, as it is built or packaged. As in libpq, such a host is `localhost` in the file.
const SOCKET_FOLDERS: [&str; 3] = ["/tmp", "/var/run/postgresql", "/run/postgresql"];

/// Finds the password of a login. `None` if there is no file, or no line for the login. A file that others can read is an error, as in
/// libpq. Blocks.
pub(super) fn password(
    path: &Path,
    server: &Server,
    database: &str,
    user: &str,
) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(err) => return Err(err),
    };
    check(&file.metadata()?)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let port = server.port.to_string();
    let found = hosts(&server.host).iter().find_map(|host| {
        let login = [host.as_bytes(), port.as_bytes(), database.as_bytes(), user.as_bytes()];
        text.split(|byte| *byte == b'\n').find_map(|line| matching(line, login))
    });
    Ok(found.filter(|password| !password.is_empty()))
}

fn check(metadata: &Metadata) -> io::Result<()> {
    let refused = |problem| Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    if !metadata.is_file() {
        return refused("it is not a plain file");
    }
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return refused("group or others have access to it; its permissions should be u=rw (0600) or less");
    }
    Ok(())
}

fn hosts(host: &Host) -> Vec<String> {
    match host {
        Host::Tcp(name) => vec![name.clone()],
        Host::Unix(folder) => {
            let folder = folder.to_string_lossy().into_owned();
            let is_default = SOCKET_FOLDERS.contains(&&*folder);
            if is_default { vec!["localhost".to_owned(), folder] } else { vec![folder] }
        }
    }
}

/// The password in a line that is about this login.
fn matching(line: &[u8], login: [&[u8]; 4]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"#") {
        return None;
    }
    let mut rest = line;
    for wanted in login {
        rest = after(rest, wanted)?;
    }
    Some(unescaped(rest))
}

/// What follows a field, if it is this or `*`.
fn after<'a>(line: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    if let Some(rest) = line.strip_prefix(b"*:") {
        return Some(rest);
    }
    let (mut line, mut wanted) = (line, wanted.iter());
    loop {
        let (byte, rest) = line.split_first()?;
        match (byte, wanted.as_slice()) {
            (b':', []) => return Some(rest),
            (b'\\', _) => {
                let (escaped, rest) = rest.split_first()?;
                (wanted.next() == Some(escaped)).then_some(())?;
                line = rest;
            }
            (byte, _) => {
                (wanted.next() == Some(byte)).then_some(())?;
                line = rest;
            }
        }
    }
}

/// The last field, to its end or to a colon that is not escaped.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut password = Vec::new();
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => break,
            b'\\' => password.push(*bytes.next().unwrap_or(byte)),
            byte => password.push(*byte),
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: [&[u8]; 4] = [b"db", b"5432", b"shop", b"al:ice"];

    fn found(line: &str) -> Option<String> {
        matching(line.as_bytes(), LOGIN).map(|password| String::from_utf8(password).expect("text"))
    }

    #[test]
    fn a_line_matches_as_in_libpq() {
        for (line, password) in [
            (r"db:5432:shop:al\:ice:secret", Some("secret")),
            ("*:*:*:*:secret", Some("secret")),
            ("*:5432:*:*:secret\r", Some("secret")),
            (r"\d\b:5432:shop:al\:ice:secret", Some("secret")),
            (r"*:*:*:*:a\:b\\c", Some(r"a:b\c")),
            ("*:*:*:*:a:b", Some("a")),
            (r"*:*:*:*:a\", Some(r"a\")),
            ("*:*:*:*:", Some("")),
            // A `:` need not be escaped where the name has one.
            ("db:5432:shop:al:ice:secret", Some("secret")),
            ("db:5432:shop:al:secret", None),
            ("db:5432:shop", None),
            ("d:5432:shop:*:secret", None),
            ("dbx:5432:shop:*:secret", None),
            ("d*:5432:shop:*:secret", None),
            ("DB:*:*:*:secret", None),
            ("#*:*:*:*:secret", None),
            (" *:*:*:*:secret", None),
            ("", None),
            (r"db\", None),
        ] {
            assert_eq!(found(line).as_deref(), password, "{line}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_first_line_counts_and_a_file_that_others_can_read_is_refused() {
        use std::fs::{Permissions, set_permissions, write};
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgpass");
        let server = |host| Server { host, hostaddr: None, port: 5432 };
        let tcp = server(Host::Tcp("db".into()));
        let ask = |server: &Server| password(&path, server, "shop", "alice");
        assert!(ask(&tcp).expect("no file").is_none());
        write(&path, "# mine\n\ndb:*:*:bob:x\ndb:*:*:alice:first\n*:*:*:*:second\nlocalhost:*:*:*:third")
            .expect("a file");
        for mode in [0o640, 0o604, 0o601, 0o777] {
            set_permissions(&path, Permissions::from_mode(mode)).expect("permissions");
            let err = ask(&tcp).expect_err("others can read it");
            assert!(err.to_string().contains("0600"), "{err}");
        }
        set_permissions(&path, Permissions::from_mode(0o600)).expect("permissions");
        assert_eq!(ask(&tcp).expect("a file"), Some(b"first".to_vec()));
        let other = server(Host::Unix("/somewhere".into()));
        assert_eq!(ask(&other).expect("a file"), Some(b"second".to_vec()));
        write(&path, "/tmp:*:*:*:by path\nlocalhost:*:*:*:by name").expect("a file");
        let local = server(Host::Unix("/tmp".into()));
        assert_eq!(ask(&local).expect("a file"), Some(b"by name".to_vec()));
        assert!(
            password(folder.path(), &tcp, "shop", "alice")
                .expect_err("a folder")
                .to_string()
                .contains("plain")
        );
    }
}
