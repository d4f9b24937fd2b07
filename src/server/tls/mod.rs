//! TLS: what the settings say as a configuration, and connections that speak it.

mod ciphers;
mod identity;
mod records;
mod server_config;
mod sessions;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;

pub(crate) use records::{TlsRead, TlsWrite, split};
pub(crate) use server_config::server_config;

/// The configuration with which connections are accepted; each keeps the one that it began with.
pub(crate) type Current = Arc<ArcSwapOption<ServerConfig>>;

/// First two bytes of a connection that begins with TLS.
pub(crate) const HELLO_START: [u8; 2] = [0x16, 0x03];
