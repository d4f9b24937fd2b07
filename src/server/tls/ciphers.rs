//! Which cipher suites are offered.

use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite as ring;

use crate::config::TlsSettings;

/// A suite of TLS 1.2 by its name in OpenSSL, with the words of OpenSSL that it is among.
struct Suite {
    name: &'static str,
    suite: SupportedCipherSuite,
    words: &'static [&'static str],
}

/// Words that all suites of TLS 1.2 that are offered are among.
const COMMON: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "ECDHE", "kECDHE", "EECDH", "kEECDH", "ECDH", "TLSv1.2"];

const SUITES: &[Suite] = &[
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite: ring::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        words: &["ECDSA", "aECDSA", "AES", "AES256", "AESGCM", "FIPS"],
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite: ring::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        words: &["ECDSA", "aECDSA", "AES", "AES128", "AESGCM", "FIPS"],
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite: ring::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        words: &["ECDSA", "aECDSA", "CHACHA20"],
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        suite: ring::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        words: &["aRSA", "AES", "AES256", "AESGCM", "FIPS"],
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        suite: ring::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        words: &["aRSA", "AES", "AES128", "AESGCM", "FIPS"],
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        suite: ring::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        words: &["aRSA", "CHACHA20"],
    },
];

const SUITES_13: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_256_GCM_SHA384", ring::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", ring::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", ring::TLS13_AES_128_GCM_SHA256),
];

/// Suites of TLS 1.3 that OpenSSL has and the server has not.
const MISSING_13: &[&str] = &["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"];

/// Words of OpenSSL that no suite is among that is offered.
const EMPTY_WORDS: &[&str] = &[
    "3DES",
    "ADH",
    "AECDH",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "EDH",
    "EXP",
    "EXPORT",
    "GOST",
    "IDEA",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "SEED",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA384",
    "SRP",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "aDH",
    "aDSS",
    "aECDH",
    "aGOST",
    "aNULL",
    "aPSK",
    "eNULL",
    "kDH",
    "kDHE",
    "kDHEPSK",
    "kDHd",
    "kDHr",
    "kECDHEPSK",
    "kECDHd",
    "kECDHr",
    "kEDH",
    "kGOST",
    "kPSK",
    "kRSA",
    "kRSAPSK",
    "kSRP",
];

/// The suites that `tls-ciphersuites` and `tls-ciphers` allow, the best first.
///
/// # Errors
/// Where they name what is not known, or allow nothing that is possible.
pub(super) fn choose(
    settings: &TlsSettings,
    with_tls12: bool,
) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut chosen = tls13(&settings.ciphersuites)?;
    if with_tls12 {
        chosen.extend(tls12(&settings.ciphers)?.into_iter().map(|suite| suite.suite));
    }
    Ok(chosen)
}

fn tls13(list: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut chosen = Vec::new();
    for name in list.split(':').map(str::trim).filter(|name| !name.is_empty()) {
        match SUITES_13.iter().find(|(known, _)| *known == name) {
            Some((_, suite)) => chosen.push(*suite),
            None if MISSING_13.contains(&name) => {
                tracing::warn!("of tls-ciphersuites, {name} is left out: it is not supported");
            }
            None => return Err(format!("tls-ciphersuites: there is no '{name}'")),
        }
    }
    if list.trim().is_empty() {
        return Ok(SUITES_13.iter().map(|(_, suite)| *suite).collect());
    }
    if chosen.is_empty() {
        return Err(format!("tls-ciphersuites {list}: none of these is supported"));
    }
    Ok(chosen)
}

/// Reads a list as OpenSSL does: words add suites at the end, `-` takes them away, `!` for good, and
/// `+` moves them to the end.
fn tls12(list: &str) -> Result<Vec<&'static Suite>, String> {
    let mut chosen: Vec<&'static Suite> = Vec::new();
    let mut banned: Vec<&'static str> = Vec::new();
    let list = if list.trim().is_empty() { "DEFAULT" } else { list };
    for element in list.split([':', ',', ' ', ';']).filter(|element| !element.is_empty()) {
        let is = |suites: &[&Suite], suite: &Suite| suites.iter().any(|s| s.name == suite.name);
        if let Some(command) = element.strip_prefix('@') {
            special(command, &mut chosen)?;
        } else if let Some(words) = element.strip_prefix('!') {
            let found = matching(words)?;
            chosen.retain(|suite| !is(&found, suite));
            banned.extend(found.iter().map(|suite| suite.name));
        } else if let Some(words) = element.strip_prefix('-') {
            let found = matching(words)?;
            chosen.retain(|suite| !is(&found, suite));
        } else if let Some(words) = element.strip_prefix('+') {
            let found = matching(words)?;
            let (moved, mut rest): (Vec<_>, Vec<_>) =
                chosen.into_iter().partition(|suite| is(&found, suite));
            rest.extend(moved);
            chosen = rest;
        } else {
            let found = matching(element)?;
            let new = found.into_iter().filter(|suite| !banned.contains(&suite.name));
            let new: Vec<_> = new.filter(|suite| !is(&chosen, suite)).collect();
            chosen.extend(new);
        }
    }
    if chosen.is_empty() {
        return Err(format!("tls-ciphers {list}: none of these is supported"));
    }
    Ok(chosen)
}

/// `@STRENGTH` sorts, `@SECLEVEL` is a promise that is kept up to 2.
fn special(command: &str, chosen: &mut [&'static Suite]) -> Result<(), String> {
    match command {
        "STRENGTH" => chosen.sort_by_key(|suite| suite.words.contains(&"AES128")),
        "SECLEVEL=0" | "SECLEVEL=1" | "SECLEVEL=2" => {}
        _ => return Err(format!("tls-ciphers: '@{command}' is not supported")),
    }
    Ok(())
}

/// The suites that are among all of these words, which have `+` between.
fn matching(words: &str) -> Result<Vec<&'static Suite>, String> {
    let mut found: Vec<&'static Suite> = SUITES.iter().collect();
    for word in words.split('+') {
        let known = SUITES.iter().any(|suite| suite.is_among(word))
            || EMPTY_WORDS.contains(&word)
            || is_other_suite(word);
        if !known {
            return Err(format!("tls-ciphers: '{word}' is not known"));
        }
        found.retain(|suite| suite.is_among(word));
    }
    Ok(found)
}

impl Suite {
    fn is_among(&self, word: &str) -> bool {
        self.name == word || COMMON.contains(&word) || self.words.contains(&word)
    }
}

/// Whether a word looks like the name of a suite that OpenSSL may have.
fn is_other_suite(word: &str) -> bool {
    word.contains('-')
        && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> String {
        match tls12(list) {
            Ok(suites) => suites.iter().map(|s| s.name).collect::<Vec<_>>().join(" "),
            Err(why) => why,
        }
    }

    #[test]
    fn lists_of_openssl() {
        assert_eq!(tls12("").map(|all| all.len()), Ok(6));
        assert_eq!(
            names("DEFAULT:!MEDIUM:!aNULL:!AES:!ECDSA:@SECLEVEL=1"),
            "ECDHE-RSA-CHACHA20-POLY1305"
        );
        assert_eq!(
            names("aRSA+AESGCM:ECDHE-ECDSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:+AES256"),
            "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-AES256-GCM-SHA384"
        );
        assert_eq!(names("HIGH:-AES:-CHACHA20:AES128+aECDSA"), "ECDHE-ECDSA-AES128-GCM-SHA256");
        assert_eq!(names("!AES128:AES128:AES256+aRSA"), "ECDHE-RSA-AES256-GCM-SHA384");
        assert!(names("RC4:3DES").contains("none of these"));
        assert!(names("HIGH:!nonsense").contains("'nonsense'"));
        assert!(names("HIGH:@SECLEVEL=3").contains("not supported"));
    }

    #[test]
    fn suites_of_tls_13() {
        let count = |list| tls13(list).map(|suites| suites.len());
        assert_eq!(count(""), Ok(3));
        assert_eq!(count("TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256"), Ok(1));
        assert!(count("TLS_AES_128_CCM_SHA256").is_err());
        assert!(count("TLS_AES_512").is_err());
    }
}
