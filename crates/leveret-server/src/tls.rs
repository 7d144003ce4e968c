//! TLS: the listener's certificate, and what a client's certificate says.

use std::path::Path;
use std::sync::Arc;

use leveret_broker::Time;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{StartError, Tls};

/// The acceptor for a listener with these files.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, StartError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| StartError::Tls(error.to_string()))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unusable(&tls.key, &error))?;
    let config = builder
        .with_single_cert(certificates(&tls.cert)?, key)
        .map_err(|error| unusable(&tls.cert, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// When the certificates of a listener with TLS end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateEnds {
    /// Of those that it shows.
    pub shown: Vec<Time>,
    /// Of those that vouch for clients.
    pub trusted: Vec<Time>,
}

/// When the certificates in these files end.
pub(crate) fn ends(tls: &Tls) -> Result<CertificateEnds, StartError> {
    let trusted = tls.client_ca.as_deref().map(ends_in).transpose()?;
    Ok(CertificateEnds { shown: ends_in(&tls.cert)?, trusted: trusted.unwrap_or_default() })
}

fn ends_in(path: &Path) -> Result<Vec<Time>, StartError> {
    let end = |certificate: CertificateDer<'_>| {
        let parsed = X509Certificate::from_der(&certificate);
        let (_, parsed) = parsed.map_err(|error| unusable(path, &error))?;
        let at_s = parsed.validity().not_after.timestamp();
        // Before 1970 is as good as 1970.
        Ok(Time(u64::try_from(at_s).unwrap_or(0).saturating_mul(1_000_000)))
    };
    certificates(path)?.into_iter().map(end).collect()
}

/// The common name in a certificate.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(Into::into)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> StartError {
    StartError::Tls(format!("{}: {error}", path.display()))
}
