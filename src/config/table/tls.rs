//! TLS.

use super::access::{Number, Word, choice, integer, switch, text};
use crate::config::AuthClients;
use crate::config::kind::{Kind, Setting};

const I32_MAX: i64 = i32::MAX as i64;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "tls-port",
        integer!(tls.port, 0, 65535),
        "0",
        "TCP port of connections with TLS; 0 for none",
    ),
    Setting::new(
        "tls-cert-file",
        text!(tls.cert_file),
        "",
        "PEM file with the certificate of the server, and those that lead to a known one",
    ),
    Setting::new("tls-key-file", text!(tls.key_file), "", "PEM file with its key"),
    Setting::new(
        "tls-key-file-pass",
        text!(tls.key_file_pass),
        "",
        "Password of an encrypted PKCS #8 key",
    ),
    Setting::new(
        "tls-ca-cert-file",
        text!(tls.ca_cert_file),
        "",
        "PEM file with the authorities whose client certificates are accepted",
    ),
    Setting::new("tls-ca-cert-dir", text!(tls.ca_cert_dir), "", "Directory of such files"),
    Setting::new(
        "tls-auth-clients",
        choice!(tls.auth_clients: AuthClients),
        "yes",
        "Whether clients need a certificate; with 'optional' they may show one",
    ),
    Setting::new(
        "tls-protocols",
        text!(tls.protocols),
        "",
        "Versions to offer, 'TLSv1.2 TLSv1.3'; older ones are never offered",
    ),
    Setting::new(
        "tls-ciphersuites",
        text!(tls.ciphersuites),
        "",
        "Cipher suites of TLS 1.3 with colons between",
    ),
    Setting::new(
        "tls-ciphers",
        text!(tls.ciphers),
        "",
        "Cipher suites of TLS 1.2 as OpenSSL writes them; only ECDHE with an AEAD is offered",
    ),
    Setting::new(
        "tls-prefer-server-ciphers",
        switch!(tls.prefer_server_ciphers),
        "no",
        "The order of the server's cipher suites counts rather than that of the client",
    ),
    Setting::new(
        "tls-session-caching",
        switch!(tls.session_caching),
        "yes",
        "Clients may resume a session",
    ),
    Setting::new(
        "tls-session-cache-size",
        integer!(tls.session_cache_size, 0, I32_MAX),
        "20480",
        "Sessions that are kept; 0 for any number",
    ),
    Setting::new(
        "tls-session-cache-timeout",
        integer!(tls.session_cache_timeout, 0, I32_MAX),
        "300",
        "Seconds that a session can be resumed",
    ),
    Setting::new(
        "tls-dh-params-file",
        text!(tls.dh_params_file),
        "",
        "Kept; finite-field Diffie-Hellman, which it is for, is never offered",
    ),
];
