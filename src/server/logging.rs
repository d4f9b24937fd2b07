//! The log of the server: lines through `tracing`, to standard output or to `logfile`.

use std::backtrace::Backtrace;
use std::fs::File;
use std::io;
use std::panic;
use std::path::Path;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogLevel, Settings};
use crate::env;

/// Changes how much is logged while the server runs.
pub(crate) type Level = reload::Handle<LevelFilter, tracing_subscriber::Registry>;

/// Sets up logging as the settings say. Lines of a process that already logs stay where they go.
///
/// # Errors
/// Where the log file cannot be opened.
pub(crate) fn start(settings: &Settings) -> io::Result<Level> {
    let file = open(settings)?;
    let to_file = file.is_some();
    let writer = match file {
        Some(file) => BoxMakeWriter::new(Arc::new(file)),
        None => BoxMakeWriter::new(io::stdout),
    };
    let (filter, level) = reload::Layer::new(filter(settings.loglevel));
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(!to_file && io::IsTerminal::is_terminal(&io::stdout()))
        .with_writer(writer);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_err() {
        tracing::debug!("this process logs already");
    } else if to_file {
        log_panics();
    }
    Ok(level)
}

/// Looks whether [`start`] can.
///
/// # Errors
/// Where the log file cannot be opened.
pub(crate) fn can_start(settings: &Settings) -> io::Result<()> {
    open(settings).map(drop)
}

/// The log file, where the settings name one.
fn open(settings: &Settings) -> io::Result<Option<File>> {
    if settings.logfile.is_empty() {
        return Ok(None);
    }
    let file = env::open_for_append(Path::new(&settings.logfile)).map_err(|error| {
        let why = format!("Can't open the log file {}: {error}", settings.logfile);
        io::Error::new(error.kind(), why)
    })?;
    Ok(Some(file))
}

/// Has the log tell what standard error tells else, which leads nowhere in the background.
fn log_panics() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}\n{}", Backtrace::force_capture());
        told(panic);
    }));
}

/// Whether standard output shows errors that are logged.
pub(crate) fn shows_errors(settings: &Settings) -> bool {
    settings.logfile.is_empty() && settings.loglevel != LogLevel::Nothing
}

/// The level of `tracing` for a `loglevel`.
pub(crate) fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}
