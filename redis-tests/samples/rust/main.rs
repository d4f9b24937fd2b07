//! What programs do with a server, through the clients of Rust.
//!
//! usage: client-samples redis-sync|redis-async|fred PORT PROTOCOL(2|3)
//!
//! Over TLS where TLS_CA names the authority's file. Everything but the making of it is done as a
//! user of the access control list. Prints `N passed, N failed`.

#![expect(clippy::disallowed_methods, reason = "a program of its own, with real time and files")]
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

mod checks;
mod redis_async;
mod redis_sync;
mod with_fred;

use checks::Checks;

/// The user as which the samples run, and its password.
const USER: (&str, &str) = ("sample", "secret");
/// What it may do.
const RULES: [&str; 6] = ["reset", "on", ">secret", "~*", "&*", "+@all"];

/// Where the server is.
pub(crate) struct Server {
    port: u16,
    /// The newest version of the protocol that is spoken.
    protocol: u8,
    /// The certificate of the authority, in PEM, where TLS is spoken.
    authority: Option<Vec<u8>>,
}

impl Server {
    fn from_words(words: &[String]) -> Option<Self> {
        let [port, protocol] = words else { return None };
        let authority = match std::env::var_os("TLS_CA") {
            Some(path) => Some(std::fs::read(path).ok()?),
            None => None,
        };
        Some(Self { port: port.parse().ok()?, protocol: protocol.parse().ok()?, authority })
    }
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (library, server) = match words.split_first() {
        Some((library, rest)) => (library.as_str(), Server::from_words(rest)),
        None => ("", None),
    };
    let Some(server) = server else {
        eprintln!("usage: siltdb-client-samples redis-sync|redis-async|fred PORT PROTOCOL");
        return std::process::ExitCode::FAILURE;
    };
    // Both clients bring rustls without a provider of their own.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let mut checks = Checks::default();
    let ended = match library {
        "redis-sync" => {
            let ran = || redis_sync::run(&server, &mut checks).map_err(|e| e.to_string());
            tokio::task::block_in_place(ran)
        }
        "redis-async" => redis_async::run(&server, &mut checks).await.map_err(|e| e.to_string()),
        "fred" => with_fred::run(&server, &mut checks).await.map_err(|e| e.to_string()),
        other => Err(format!("no sample is called {other}")),
    };
    if let Err(error) = ended {
        checks.fail("the sample runs to its end", &error);
    }
    if checks.end() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
