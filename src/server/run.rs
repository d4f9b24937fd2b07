//! The server's life: open the store, listen, serve, shut down.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::accept::Listener;
use super::listeners::Listeners;
use super::logging::{self, Level};
use super::manager::Manager;
use super::message;
use super::metrics::{self, Endpoint};
use super::pidfile::PidFile;
use super::writer::WriterTask;
use super::{accept, cron, cursors, expiry, limits, pushes, settings, shutdown, tls};
use crate::commands::acl::Users;
use crate::commands::{PLACES, ServerState, memory_budget};
use crate::config::{AppendFsync, Config, Parsed, Settings};
use crate::data;
use crate::engine::{self, Engine, Options, Writer};
use crate::env::background;
use crate::env::process::{self, Standing, stand_back};
use crate::env::{Clock, RealFs, SystemClock};

/// Where the process id is written in the background if `pidfile` is not set, as in Redis.
const BACKGROUND_PIDFILE: &str = "/var/run/redis.pid";
/// "File size limit exceeded", see signal(7).
const SIGXFSZ: i32 = 25;
/// Stack of a thread: scripts, and the texts that they take apart, nest deeply.
const STACK_BYTES: usize = 8 << 20;
/// Threads that may wait on the disk for reads, and for those who read long replies, at the same time.
const BLOCKING_THREADS_MAX: usize = 64 + PLACES;
/// Requests of administrative commands that may wait for the writer.
const CONTROL_MAX: usize = 16;

/// Runs a server until it is told to stop. Returns once everything acknowledged is synced; with
/// `daemonize` once the server is on its own in the background, whatever then becomes of it.
///
/// # Errors
/// Where the data directory cannot be opened, or an address cannot be listened on. It has been told
/// then: in the log, and on standard error where the log does not show on standard output.
pub fn run(mut parsed: Parsed) -> io::Result<()> {
    let settings = parsed.config.load_full();
    let manager = Manager::of(&settings);
    let mut shown = false;
    let ended = if settings.daemonize && manager == Manager::None && !background::is_begun() {
        logging::can_start(&settings).and_then(|()| background::start(parsed.stdin.as_deref()))
    } else {
        into_background(&mut parsed.config, manager)
            .and_then(|()| logging::start(&settings))
            .and_then(|level| {
                shown = logging::shows_errors(&settings);
                let served = open_and_serve(parsed, level, manager);
                served.inspect_err(|error| tracing::error!("{error}"))
            })
    };
    if let Err(error) = &ended
        && !shown
    {
        writeln!(io::stderr(), "siltdb: {error}")?;
    }
    ended
}

/// Leaves the terminal, where this is the process in the background.
fn into_background(config: &mut Config, manager: Manager) -> io::Result<()> {
    let settings = config.load_full();
    if !settings.daemonize || manager != Manager::None {
        return Ok(());
    }
    if settings.pidfile.is_empty() {
        let pidfile = BACKGROUND_PIDFILE.to_owned();
        let file = config.file().map(Path::to_owned);
        *config = Config::new(Settings { pidfile, ..Settings::clone(&settings) }, file);
    }
    background::detach()
}

fn open_and_serve(parsed: Parsed, level: Level, manager: Manager) -> io::Result<()> {
    let Parsed { config, notices, .. } = parsed;
    let settings = config.load_full();
    let (version, pid) = (env!("CARGO_PKG_VERSION"), std::process::id());
    tracing::info!("SiltDB {version} is starting, PID: {pid}");
    for notice in notices {
        tracing::warn!("{notice}");
    }
    manager.starting(&settings);
    settings::tell_floor(&settings);
    let clients = limits::raise_open_files(settings.maxclients);
    if clients < settings.maxclients {
        tracing::warn!(
            maxclients = settings.maxclients,
            possible = clients,
            "the limit of open files allows fewer clients; raise it with ulimit -n"
        );
    }
    process::try_standing_back();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let runtime = runtime(settings.io_threads)?;
    // Before anything looks at the table of commands.
    crate::commands::table::rename(&settings.renamed_commands).map_err(io::Error::other)?;
    let users = Users::configured(&settings, &RealFs).map_err(io::Error::other)?;
    let tls = tls_config(&settings, &clock)?;
    // A server that cannot listen leaves no data directory behind.
    let (sockets, metrics) = {
        let _context = runtime.enter();
        shutdown::ignore_hangups()?;
        (accept::listen(&settings)?, metrics::open(&settings)?)
    };
    let startup_bytes = process::memory().allocated;
    let store =
        open_engine(&settings, Arc::clone(&clock)).map_err(|e| io::Error::other(e.to_string()))?;
    let doors = Doors { sockets, tls, metrics };
    let served_by = (level, manager);
    let serving = serve(config, users, served_by, clock, (store, startup_bytes), doors);
    let served = runtime.block_on(serving);
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

/// The configuration of TLS, where a port asks for it.
fn tls_config(settings: &Settings, clock: &Arc<dyn Clock>) -> io::Result<tls::Current> {
    let current = tls::Current::default();
    if settings.tls.port != 0 {
        let config = tls::server_config(&settings.tls, &RealFs, clock)
            .map_err(|why| io::Error::other(format!("Failed to configure TLS: {why}")))?;
        current.store(Some(config));
    }
    Ok(current)
}

/// Opens the engine in the data directory of the settings.
pub(crate) fn open_engine(
    settings: &Settings,
    clock: Arc<dyn Clock>,
) -> engine::Result<(Engine, Writer)> {
    let options = Options {
        kind_at: data::KIND_AT,
        share_at: data::SHARE_AT,
        // One of them flushes.
        background_threads: 1 + settings.compaction_threads,
        open_tables_max: limits::open_tables_max(),
        fill_log: settings.appendfsync == AppendFsync::Always,
        ..Options::for_budget(&settings.dir, memory_budget(settings))
    };
    let (engine, writer) =
        Engine::open(RealFs::shared(), clock, options, Arc::new(data::RecordFilter))?;
    // What the end of the process has interrupted.
    engine.reclaim();
    Ok((engine, writer))
}

/// One thread runs everything where `io-threads` is 1, so that no wake-up crosses a core. The threads
/// of the blocking pool stand back behind those that run the connections.
fn runtime(io_threads: usize) -> io::Result<tokio::runtime::Runtime> {
    let (mut builder, workers) = if io_threads <= 1 {
        (tokio::runtime::Builder::new_current_thread(), 0)
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(io_threads);
        (builder, io_threads)
    };
    // Workers are started together with the runtime, before any other thread.
    let started = AtomicUsize::new(0);
    builder
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(STACK_BYTES)
        .thread_name("siltdb-worker")
        .on_thread_start(move || {
            if started.fetch_add(1, Ordering::Relaxed) >= workers {
                stand_back(Standing::Heavy);
            }
        })
        .build()
}

/// Where connections come in.
struct Doors {
    sockets: Vec<Listener>,
    tls: tls::Current,
    metrics: Option<TcpListener>,
}

async fn serve(
    config: Config,
    users: Users,
    (level, manager): (Level, Manager),
    clock: Arc<dyn Clock>,
    ((engine, writer), startup_bytes): ((Engine, Writer), u64),
    Doors { mut sockets, tls, metrics }: Doors,
) -> io::Result<()> {
    let settings = config.load_full();
    sockets.extend(accept::listen_local(&settings)?);
    let _pidfile = PidFile::write(RealFs::shared(), &settings);
    let (control, requests) = mpsc::channel(CONTROL_MAX);
    let (messages, inbox) = mpsc::channel(message::QUEUE_MAX);
    let engine = Some(Arc::new(engine));
    let mut state = ServerState::new(config, clock, RealFs::shared(), engine, control);
    state.users = users;
    state.supervised = manager.name();
    state.metrics.memory_startup_bytes.set(startup_bytes);
    let state = Arc::new(state);
    // A file that may not grow any further is an error of the write then, not the end.
    let _too_large = signal(SignalKind::from_raw(SIGXFSZ))?;
    let listeners = Arc::new(Listeners::new(&state, messages.downgrade(), tls));
    let metrics = Endpoint::start(&state, metrics);
    settings::watch(&state, level, Arc::clone(&listeners), metrics);
    let task = WriterTask::new(Arc::clone(&state), writer, inbox, requests)?;
    let mut writer_task = tokio::spawn(task.run());
    tokio::spawn(expiry::run(Arc::clone(&state), messages.downgrade()));
    tokio::spawn(cron::run(Arc::clone(&state)));
    tokio::spawn(pushes::run_lane(Arc::clone(&state)));
    tokio::spawn(pushes::give_turns(Arc::clone(&state)));
    let cursor_file = cursors::load(&state);
    tokio::spawn(cursors::run(Arc::clone(&state), Arc::clone(&cursor_file)));
    listeners.start(sockets);
    banner(&settings);
    manager.ready();

    let request = tokio::select! {
        request = shutdown::requested(&state) => request?,
        ended = &mut writer_task => {
            tracing::error!(?ended, "the writer task ended; exiting, recovery comes at the next start");
            return Err(io::Error::other("the writer task ended"));
        }
    };
    manager.stopping();
    listeners.close();
    shutdown::drain_connections(&state, request).await;
    shutdown::save_rest(&state, request).await;
    cursors::save(&state, &cursor_file, shutdown::drain_patience(&state)).await;
    drop(messages);
    if let Err(error) = shutdown::drain_writer(writer_task, shutdown::drain_patience(&state)).await
    {
        // Closing the store would wait for the disk as well.
        std::mem::forget(state.engine.load_full());
        return Err(error);
    }
    let failure = state.engine().ok().and_then(|engine| {
        engine.close();
        engine.write_failure()
    });
    match failure {
        Some(why) => Err(io::Error::other(format!("writes have failed: {why}"))),
        None => {
            tracing::info!("everything acknowledged is on disk, ready to exit, bye bye");
            Ok(())
        }
    }
}

/// Says that clients are served now, in the words that scripts for Redis wait for.
fn banner(settings: &Settings) {
    tracing::info!(
        port = settings.port,
        tls_port = settings.tls.port,
        unixsocket = settings.unixsocket,
        dir = settings.dir,
        appendfsync = ?settings.appendfsync,
        memory_budget = memory_budget(settings),
        "Server initialized"
    );
    tracing::info!("Ready to accept connections");
}
