//! Certificates, and connections with TLS.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::connection::{Client, socket};

/// A stream of TLS.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// An authority that signs, and what it has signed, as PEM files in a directory.
pub(crate) struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, whose own certificate is `ca.pem`, with a server and a client.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(&dir.path().join("ca.pem"), &issuer.pem());
        let authority = Self { dir, issuer };
        authority.issue("server", ExtendedKeyUsagePurpose::ServerAuth);
        authority.issue("client", ExtendedKeyUsagePurpose::ClientAuth);
        authority
    }

    /// Makes `name.pem` and `name.key`.
    pub(crate) fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        params.extended_key_usages = vec![usage];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        write(&self.path(&format!("{name}.pem")), &certificate.pem());
        write(&self.path(&format!("{name}.key")), &key.serialize_pem());
    }

    /// Has `openssl` make `name.pem` and `name.key`, a certificate of the first version, which has no
    /// extensions; whether there is such a program.
    pub(crate) fn issue_v1(&self, name: &str) -> bool {
        write(&self.path("ca.key"), &self.issuer.key().serialize_pem());
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        let subject = format!("/CN={name}");
        let make = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject];
        let files = ["-keyout", &key, "-out", &request];
        let certificate = format!("{name}.pem");
        let sign = ["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key"];
        let out = ["-CAcreateserial", "-days", "2", "-out", &certificate];
        [[&make[..], &files[..]].concat(), [&sign[..], &out[..]].concat()].iter().all(|words| {
            let made = Command::new("openssl").args(words).current_dir(self.dir.path()).output();
            made.is_ok_and(|made| made.status.success())
        })
    }

    /// A file of the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// Arguments of a server on `port` that shows `server.pem`.
    pub(crate) fn arguments(&self, port: u16, auth_clients: &str) -> Vec<String> {
        [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", self.file("server.pem")),
            ("--tls-key-file", self.file("server.key")),
            ("--tls-ca-cert-file", self.file("ca.pem")),
            ("--tls-auth-clients", auth_clients.to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }

    /// The certificate of `name`.
    pub(crate) fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).expect("a certificate")
    }

    /// Who trusts this authority, and shows the certificate of `shown`.
    pub(crate) fn client(&self, shown: Option<(&Authority, &str)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate("ca")).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((authority, name)) => {
                let key = authority.path(&format!("{name}.key"));
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder
                    .with_client_auth_cert(vec![authority.certificate(name)], key)
                    .expect("a certificate with its key")
            }
        };
        config.resumption = Resumption::disabled();
        config
    }
}

/// Writes a file of a test.
#[expect(clippy::disallowed_methods, reason = "certificates are real files")]
pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

/// Connects and carries the handshake out; an error of the server may come with the first read only.
pub(crate) fn connect(port: u16, config: ClientConfig) -> io::Result<Stream> {
    handshake(socket(port)?, config)
}

/// Carries the handshake out.
pub(crate) fn handshake(socket: TcpStream, config: ClientConfig) -> io::Result<Stream> {
    let name = "127.0.0.1".try_into().expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(client, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// A client that must get through.
pub(crate) fn client(port: u16, config: ClientConfig) -> Client<Stream> {
    Client::over(connect(port, config).expect("the handshake"))
}
