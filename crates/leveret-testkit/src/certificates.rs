//! Certificates for one test: an authority, a server's certificate for `localhost`, and clients' certificates.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use leveret_server::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// An authority, and the folder with the files of the server that it vouches for.
pub struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Certificates {
    /// New ones, known to nobody else.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the system has random numbers");
        let authority = CertifiedIssuer::self_signed(params, key).expect("a valid certificate");
        let folder = tempfile::tempdir().expect("a folder for the test");
        let certificates = Self { authority, folder };
        let (certificate, key) = certificates.signed("localhost");
        certificates.write("server.pem", &certificate);
        certificates.write("server.key", &key);
        certificates.write("authority.pem", &certificates.authority.pem());
        certificates
    }

    /// What a server needs that shows the certificate for `localhost`.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        let (certificate, key) = self.signed("localhost");
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("our own PEM");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("our own PEM");
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("default versions")
            .with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![certificate], key).expect("our own certificate"))
    }

    /// The authority's certificate, for those who are to trust it.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        self.path("authority.pem")
    }

    pub(crate) fn server_files(&self) -> Tls {
        Tls {
            cert: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: Some(self.path("authority.pem")),
        }
    }

    /// What a client needs that trusts the authority, and shows a certificate with this common name if any.
    pub(crate) fn client(&self, common_name: Option<&str>) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("our own authority");
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("default versions")
            .with_root_certificates(roots);
        Arc::new(match common_name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (certificate, key) = self.signed(name);
                let certificate =
                    CertificateDer::from_pem_slice(certificate.as_bytes()).expect("our own PEM");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("our own PEM");
                builder.with_client_auth_cert(vec![certificate], key).expect("our own certificate")
            }
        })
    }

    /// Certificate and key in PEM.
    fn signed(&self, common_name: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![common_name.into()]).expect("a valid name");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("the system has random numbers");
        let certificate = params.signed_by(&key, &self.authority).expect("a valid certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the test's folder is writable");
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
