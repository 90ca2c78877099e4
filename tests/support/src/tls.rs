//! Servers that speak TLS, with certificates made for one test.

use std::fs;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Database};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    SignatureAlgorithm,
};

use crate::causes;

/// Who signs the certificates of a test, and the folder they are written to.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    /// With a key on the curve P-256.
    pub fn new() -> Self {
        Self::signing_with(&PKCS_ECDSA_P256_SHA256)
    }

    /// With a key for that algorithm.
    pub fn signing_with(algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Authorities of the same name would be taken for each other.
        let name = format!("Authority of {:?}", key.public_key_raw());
        params.distinguished_name.push(DnType::CommonName, &name[..40]);
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let authority = Self { issuer, folder: tempfile::tempdir().unwrap() };
        authority.write("ca.crt", &authority.issuer.pem());
        authority
    }

    /// Writes `name.crt` and `name.key`.
    pub fn issue(&self, name: &str, common_name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{name}.crt"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Where a file of the folder is.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What is in a file of the folder.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

const HBA: [&str; 3] = [
    "hostssl   all certified 127.0.0.1/32 cert",
    "hostssl   all alice     127.0.0.1/32 scram-sha-256",
    "host      all postgres  127.0.0.1/32 trust",
];

/// A server with `server.crt` and `server.key` of that authority, which speaks TLS up to that version.
pub fn encrypted_up_to(version: &str, authority: &Authority) -> Postgres {
    let builder = Postgres::builder()
        .setting("ssl", "on")
        .setting("ssl_ca_file", "ca.crt")
        .setting("ssl_max_protocol_version", version)
        .hba(HBA);
    let files = ["server.crt", "server.key", "ca.crt"];
    files.into_iter().fold(builder, |builder, name| builder.file(name, authority.read(name))).start().unwrap()
}

/// A server with `server.crt` and `server.key` of that authority.
pub fn encrypted(authority: &Authority) -> Postgres {
    encrypted_up_to("TLSv1.3", authority)
}

/// One session of a server, logged in with these parameters of a DSN.
pub async fn connect(server: &Postgres, parameters: &str) -> Result<Database, actix_pg::Error> {
    let port = server.port();
    let host = if parameters.contains("host=") { "" } else { "host=localhost hostaddr=127.0.0.1" };
    let dsn = format!("{host} port={port} dbname=postgres {parameters}");
    let config = Config { dsn: Some(dsn), pool_min_size: 1, pool_max_size: 1, ..Config::default() };
    Database::connect(config).await
}

/// How the connection is encrypted, or why there is none.
pub async fn said(server: &Postgres, parameters: &str) -> Result<String, String> {
    let db = connect(server, parameters).await.map_err(|err| causes(&err))?;
    let sql = "SELECT coalesce(version, 'plain') FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = db.connection().query_one(sql, &[]).await.unwrap();
    db.close().await;
    Ok(row.get(0))
}

/// Holds what was said against what was expected; of an error a part.
#[track_caller]
pub fn assert_said(said: Result<String, String>, expected: Result<&str, &str>, parameters: &str) {
    match (&said, expected) {
        (Ok(said), Ok(expected)) => assert_eq!(said, expected, "{parameters}"),
        (Err(said), Err(expected)) => assert!(said.contains(expected), "{parameters}: {said}"),
        _ => panic!("{parameters}: {said:?}, not {expected:?}"),
    }
}
