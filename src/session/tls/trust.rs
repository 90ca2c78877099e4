//! Which certificates are trusted, and which one is shown.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::provider::provider;
use crate::config::{ConfigError, ConfigErrorKind, OptionSource, PemFile, Ssl, SslMode};
use crate::tokio_postgres::config::SslNegotiation;

/// What a direct handshake has to agree on.
pub(super) const ALPN: &[u8] = b"postgresql";

const NO_PROVIDER: &str = "needs a provider of cryptography for rustls: turn on the feature `rustls` or `rustls-ring` of \
    actix-pg, or install one with `CryptoProvider::install_default` before `Database::connect`; `disable` needs none";

pub(super) fn config(ssl: Ssl) -> Result<ClientConfig, ConfigError> {
    let Ssl { mode, source, root, client, negotiation, is_local: _ } = ssl;
    let provider = provider().ok_or_else(|| {
        let kind = ConfigErrorKind::MissingFeature;
        ConfigError::new(source.clone(), kind, NO_PROVIDER)
    })?;
    let roots = match (mode, &root) {
        (_, Some(root)) => Some(Roots::of_file(root)?),
        (SslMode::VerifyFull, None) => Some(Roots::of_system(&source)?),
        _ => None,
    };
    let verifier = Verifier {
        roots,
        checks_name: mode == SslMode::VerifyFull,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|err| refused(&source, "cannot be had from the TLS library").because(err))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let (chain, private) = (certificates(&cert)?, private_key(&key)?);
            let misfit = format!("{}, which does not fit the certificate", names(&key));
            let result = builder.with_client_auth_cert(chain, private);
            result.map_err(|err| refused(&key.source, misfit).because(err))?
        }
    };
    if negotiation == SslNegotiation::Direct {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    Ok(config)
}

fn certificates(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let read = || match CertificateDer::pem_file_iter(&file.path)?.collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if certificates.is_empty() => Err(pem::Error::NoItemsFound),
        result => result,
    };
    read().map_err(|err| unreadable(file, "certificate", err))
}

fn private_key(file: &PemFile) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let wanted = "private key (PKCS#8, PKCS#1 or SEC1, not encrypted)";
    PrivateKeyDer::from_pem_file(&file.path).map_err(|err| unreadable(file, wanted, err))
}

fn unreadable(file: &PemFile, wanted: &str, err: pem::Error) -> ConfigError {
    let names = names(file);
    let problem = match &err {
        pem::Error::Io(err) => format!("{names}, which cannot be read: {err}"),
        // They quote the line: the whole key, where a file has lost its line breaks.
        pem::Error::MissingSectionEnd { .. } | pem::Error::IllegalSectionStart { .. } => {
            let problem =
                format!("{names}, which holds no {wanted} in PEM: BEGIN and END need lines of their own");
            return refused(&file.source, problem);
        }
        _ => format!("{names}, which holds no {wanted} in PEM"),
    };
    refused(&file.source, problem).because(err)
}

fn names(file: &PemFile) -> String {
    format!("names `{}`", file.path.display())
}

fn refused(source: &OptionSource, problem: impl Into<String>) -> ConfigError {
    ConfigError::new(source.clone(), ConfigErrorKind::File, problem)
}

/// Whoever vouches for a server.
#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// The certificates of the file: one that the server itself shows is trusted as it is.
    ///
    /// `openssl req -x509` makes an authority's certificate, which is no server's to webpki;
    /// people give it to the server and to libpq, which is content with it.
    pinned: Vec<CertificateDer<'static>>,
}

impl Roots {
    fn of_file(file: &PemFile) -> Result<Self, ConfigError> {
        let mut store = RootCertStore::empty();
        let pinned = certificates(file)?;
        let (added, _) = store.add_parsable_certificates(pinned.iter().cloned());
        if added == 0 {
            return Err(unreadable(file, "certificate that can be used", pem::Error::NoItemsFound));
        }
        Ok(Self { store, pinned })
    }

    fn of_system(source: &OptionSource) -> Result<Self, ConfigError> {
        let mut store = RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(loaded.certs);
        if !store.is_empty() {
            return Ok(Self { store, pinned: Vec::new() });
        }
        let err = refused(source, "finds no root certificates on this system; give a `sslrootcert`");
        Err(match loaded.errors.into_iter().next() {
            Some(cause) => err.because(cause),
            None => err,
        })
    }
}

#[derive(Debug)]
struct Verifier {
    /// `None` trusts any certificate.
    roots: Option<Roots>,
    checks_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let cert = ParsedCertificate::try_from(end_entity)?;
        if roots.pinned.contains(end_entity) {
            verify_validity(end_entity, now)?;
        } else {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&cert, &roots.store, intermediates, now, algorithms)?;
        }
        if self.checks_name {
            verify_server_name(&cert, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    /// Checked even when any certificate is trusted: channel binding rests on the server having the
    /// certificate's key. The key is taken out here, because webpki reads no certificate of
    /// version 1, and PostgreSQL's manual makes such.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = parsed(cert)?.tbs_certificate.subject_public_key_info.to_der();
        let key = SubjectPublicKeyInfoDer::from(key.map_err(|_| CertificateError::BadEncoding)?);
        crypto::verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

pub(super) fn parsed(cert: &CertificateDer<'_>) -> Result<Certificate, CertificateError> {
    Certificate::from_der(cert).map_err(|_| CertificateError::BadEncoding)
}

fn verify_validity(cert: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let validity = parsed(cert)?.tbs_certificate.validity;
    let not_before = UnixTime::since_unix_epoch(validity.not_before.to_unix_duration());
    let not_after = UnixTime::since_unix_epoch(validity.not_after.to_unix_duration());
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before });
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after });
    }
    Ok(())
}
