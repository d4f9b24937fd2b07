//! The metrics endpoint: the numbers of `INFO` over HTTP, as OpenMetrics.

mod endpoint;
mod exposition;

pub(crate) use endpoint::{Endpoint, open};
