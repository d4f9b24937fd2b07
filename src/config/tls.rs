//! The settings of TLS.

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthClients {
    /// They must.
    #[default]
    Yes,
    /// They are not asked.
    No,
    /// They may; one that they show must be right.
    Optional,
}

/// What `tls-*` settings say of the server's side of TLS, as written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TlsSettings {
    /// TCP port of connections with TLS; 0 for none.
    pub port: u16,
    /// PEM file with the server's certificate, and those that lead from it to one that clients know.
    pub cert_file: String,
    /// PEM file with the key of that certificate.
    pub key_file: String,
    /// Password of the key; empty for none.
    pub key_file_pass: String,
    /// PEM file with the certificates that client certificates are held against.
    pub ca_cert_file: String,
    /// Directory of such files.
    pub ca_cert_dir: String,
    /// Whether clients show a certificate.
    pub auth_clients: AuthClients,
    /// Versions, `TLSv1.2 TLSv1.3`; empty for both.
    pub protocols: String,
    /// Cipher suites of TLS 1.3 with colons between; empty for all.
    pub ciphersuites: String,
    /// Cipher suites of TLS 1.2 as OpenSSL writes them; empty for all.
    pub ciphers: String,
    /// The order of the server counts rather than that of the client.
    pub prefer_server_ciphers: bool,
    /// Clients may resume a session.
    pub session_caching: bool,
    /// Sessions that are kept; 0 for any number.
    pub session_cache_size: usize,
    /// Seconds that a session is kept.
    pub session_cache_timeout: u64,
    /// Parameters of a key exchange that is not offered.
    pub dh_params_file: String,
}
