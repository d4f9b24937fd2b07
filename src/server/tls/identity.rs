//! Certificates and keys, from PEM files.

use std::path::Path;

use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::env::Fs;

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// The certificates of a file, one at least.
///
/// # Errors
/// In words for the log, with the name of the file.
pub(super) fn certificates(
    fs: &dyn Fs,
    path: &str,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = certificates_of(&read(fs, path)?).map_err(|why| format!("{path}: {why}"))?;
    if found.is_empty() {
        return Err(format!("{path} has no certificate in PEM form"));
    }
    Ok(found)
}

/// The key of a file, decrypted with `password` where it is encrypted.
///
/// # Errors
/// In words for the log, with the name of the file.
pub(super) fn private_key(
    fs: &dyn Fs,
    path: &str,
    password: &str,
) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(fs, path)?;
    let found = match encrypted_block(&text) {
        Some(block) => decrypt(block, password),
        None => PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            if contains(&text, "Proc-Type: 4,ENCRYPTED") {
                "the key is encrypted in the traditional form of OpenSSL; convert it with `openssl \
                 pkcs8 -topk8`"
                    .to_owned()
            } else {
                format!("no key in PEM form: {error}")
            }
        }),
    };
    found.map_err(|why| format!("{path}: {why}"))
}

/// The certificates of a file and of all files of a directory; an empty name is none.
///
/// # Errors
/// In words for the log.
pub(super) fn authorities(fs: &dyn Fs, file: &str, dir: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if !file.is_empty() {
        for certificate in certificates(fs, file)? {
            roots.add(certificate).map_err(|error| format!("{file}: {error}"))?;
        }
    }
    if !dir.is_empty() {
        add_directory(fs, dir, &mut roots)?;
    }
    if roots.is_empty() {
        return Err(format!("{dir} has no certificate in PEM form"));
    }
    Ok(roots)
}

/// Adds the certificates of the files of `dir`; what is no certificate there is left out.
fn add_directory(fs: &dyn Fs, dir: &str, roots: &mut RootCertStore) -> Result<(), String> {
    let names = fs.list(Path::new(dir)).map_err(|error| format!("{dir}: {error}"))?;
    for name in names {
        let Ok(text) = fs.read(&Path::new(dir).join(&name)) else { continue };
        for certificate in certificates_of(&text).unwrap_or_default() {
            if let Err(error) = roots.add(certificate) {
                tracing::warn!(dir, name, %error, "a certificate is left out");
            }
        }
    }
    Ok(())
}

fn certificates_of(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("no certificates in PEM form: {error}"))
}

fn read(fs: &dyn Fs, path: &str) -> Result<bytes::Bytes, String> {
    fs.read(Path::new(path)).map_err(|error| format!("{path}: {error}"))
}

/// The PEM block of an encrypted key, if there is one.
fn encrypted_block(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let start = text.find(&format!("-----BEGIN {ENCRYPTED}-----"))?;
    let last_line = format!("-----END {ENCRYPTED}-----");
    let block = text.get(start..)?;
    block.get(..block.find(&last_line)? + last_line.len())
}

fn decrypt(block: &str, password: &str) -> Result<PrivateKeyDer<'static>, String> {
    if password.is_empty() {
        return Err("the key is encrypted, and tls-key-file-pass is not set".to_owned());
    }
    let (_, document) = pkcs8::Document::from_pem(block).map_err(|error| error.to_string())?;
    let key = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
        .and_then(|key| key.decrypt(password))
        .map_err(|error| format!("the key cannot be decrypted with tls-key-file-pass: {error}"))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn contains(text: &[u8], part: &str) -> bool {
    memchr::memmem::find(text, part.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::RealFs;

    fn key(name: &str, password: &str) -> Result<Vec<u8>, String> {
        let path = format!("{}/tests/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
        private_key(&RealFs, &path, password).map(|key| key.secret_der().to_vec())
    }

    /// Keys that OpenSSL has written.
    #[test]
    fn an_encrypted_key_is_the_same_key() {
        let plain = key("key.pem", "not needed").expect("a key");
        assert_eq!(key("key-encrypted.pem", "sesame"), Ok(plain));
        for (name, password, why) in [
            ("key-encrypted.pem", "", "tls-key-file-pass is not set"),
            ("key-encrypted.pem", "wrong", "cannot be decrypted"),
            ("key-traditional.pem", "sesame", "traditional form"),
            ("event-calls.txt", "", "no key in PEM form"),
            ("missing.pem", "", "missing.pem: "),
        ] {
            let error = key(name, password).expect_err("refused");
            assert!(error.contains(why) && error.contains(name), "{error}");
        }
    }
}
