//! From the settings to a configuration of rustls.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::ciphers;
use super::identity::{authorities, certificates, private_key};
use super::sessions::Sessions;
use crate::config::{AuthClients, TlsSettings};
use crate::env::{Clock, Fs};

/// Reads the files that the settings name, and makes of all of it one configuration.
///
/// # Errors
/// What cannot be used, in words for the log. Nothing is offered that the settings do not allow: what
/// they ask for and is not possible is left out where something else remains, and refused where
/// nothing does.
pub(crate) fn server_config(
    settings: &TlsSettings,
    fs: &dyn Fs,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, String> {
    if settings.cert_file.is_empty() {
        return Err("no tls-cert-file is configured".to_owned());
    }
    if settings.key_file.is_empty() {
        return Err("no tls-key-file is configured".to_owned());
    }
    let chain = certificates(fs, &settings.cert_file)?;
    let key = private_key(fs, &settings.key_file, &settings.key_file_pass)?;
    let versions = versions(&settings.protocols)?;
    let cipher_suites = ciphers::choose(settings, versions.contains(&&TLS12))?;
    let provider = Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() });
    let verifier = client_verifier(settings, fs, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| format!("tls-protocols and the ciphers: {error}"))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| format!("{} and its key: {error}", settings.cert_file))?;
    config.ignore_client_order = settings.prefer_server_ciphers;
    if settings.session_caching {
        let timeout_s = settings.session_cache_timeout;
        let sessions = Sessions::new(settings.session_cache_size, timeout_s, Arc::clone(clock));
        config.session_storage = Arc::new(sessions);
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    if !settings.dh_params_file.is_empty() {
        tracing::info!("tls-dh-params-file has no use: finite-field Diffie-Hellman is not offered");
    }
    Ok(Arc::new(config))
}

/// The versions to offer.
fn versions(protocols: &str) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let (mut versions, mut too_old) = (Vec::new(), Vec::new());
    for word in protocols.split_ascii_whitespace() {
        match word.to_ascii_lowercase().as_str() {
            "tlsv1.2" => versions.push(&TLS12),
            "tlsv1.3" => versions.push(&TLS13),
            "tlsv1" | "tlsv1.1" => too_old.push(word),
            _ => {
                return Err(format!(
                    "'{word}' in tls-protocols: use a combination of 'TLSv1.2' and 'TLSv1.3'"
                ));
            }
        }
    }
    if !too_old.is_empty() {
        let words = too_old.join(" ");
        if versions.is_empty() {
            return Err(format!("tls-protocols {words}: TLS 1.2 and 1.3 can be offered only"));
        }
        tracing::warn!(
            "of tls-protocols, {words} are left out: TLS 1.2 and 1.3 can be offered only"
        );
    }
    Ok(if protocols.trim().is_empty() { vec![&TLS13, &TLS12] } else { versions })
}

/// What client certificates are held against.
fn client_verifier(
    settings: &TlsSettings,
    fs: &dyn Fs,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    if settings.auth_clients == AuthClients::No {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    if settings.ca_cert_file.is_empty() && settings.ca_cert_dir.is_empty() {
        let text = "either tls-ca-cert-file or tls-ca-cert-dir must be set while tls-auth-clients \
                    is on";
        return Err(text.to_owned());
    }
    let roots = authorities(fs, &settings.ca_cert_file, &settings.ca_cert_dir)?;
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match settings.auth_clients {
        AuthClients::Optional => builder.allow_unauthenticated(),
        AuthClients::Yes | AuthClients::No => builder,
    };
    builder.build().map_err(|error| format!("the authorities of client certificates: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_chosen_and_old_ones_never() {
        let names = |protocols| {
            versions(protocols).map(|all| all.iter().map(|v| v.version).collect::<Vec<_>>())
        };
        assert_eq!(names(""), Ok(vec![TLS13.version, TLS12.version]));
        assert_eq!(names("tlsv1.3"), Ok(vec![TLS13.version]));
        assert_eq!(names("TLSv1 TLSv1.1 TLSv1.2"), Ok(vec![TLS12.version]));
        assert!(names("TLSv1.1").is_err_and(|why| why.contains("TLSv1.1")));
        assert!(names("SSLv3 TLSv1.2").is_err_and(|why| why.contains("'SSLv3'")));
    }
}
