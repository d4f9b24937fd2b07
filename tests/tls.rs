//! TLS on real sockets: handshakes, data of any size, reloads, and ends.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use rcgen::ExtendedKeyUsagePurpose::ServerAuth;
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use support::tls::{Authority, Stream, client, connect, handshake, write};
use support::{Client, Connection, Reply, Server, encode, eventually, free_port, socket};

/// Bytes of a large value.
const LARGE: usize = 50 << 20;

/// A server with TLS, and the port of that.
fn start(authority: &Authority, auth_clients: &str, further: &[&str]) -> (Server, u16) {
    let port = free_port();
    let mut args = authority.arguments(port, auth_clients);
    args.extend(further.iter().map(|arg| (*arg).to_owned()));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    (Server::start(&args), port)
}

/// The value of a field of `INFO`.
fn info(client: &mut Client, field: &str) -> String {
    let text = client.call(&["INFO", "everything"]);
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field}")).to_owned()
}

/// Bytes that do not repeat.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Whether a client gets through and is answered.
fn is_served(port: u16, config: ClientConfig) -> bool {
    let connected = connect(port, config).map(Connection::over);
    connected.and_then(|mut c| c.call(&[b"PING"])).is_ok_and(|reply| reply.to_string() == "+PONG")
}

#[test]
fn a_pipeline_is_answered_wherever_it_is_cut() {
    let authority = Authority::new();
    let (_server, port) = start(&authority, "no", &["--io-threads", "4"]);
    let mut client = client(port, authority.client(None));
    assert_eq!(client.call(&["PING"]), "+PONG");
    let mut pipeline = Vec::new();
    for number in 0..10_000 {
        let number = number.to_string();
        pipeline.extend(encode(&[b"SET", number.as_bytes(), b"a value"]));
        pipeline.extend(encode(&[b"GET", number.as_bytes()]));
    }
    // Each piece is a record of its own; 1 to 30,000 bytes.
    let mut rest = &pipeline[..];
    for size in (0_usize..).map(|step| 1 + step * step * 37 % 30_000) {
        let (piece, left) = rest.split_at(size.min(rest.len()));
        client.send(piece);
        rest = left;
        if rest.is_empty() {
            break;
        }
    }
    for number in 0..10_000 {
        assert_eq!((client.reply(), client.reply()), ("+OK".into(), "a value".into()), "{number}");
    }
}

#[test]
fn a_large_value_goes_both_ways() {
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &["--appendfsync", "no"]);
    let value = bytes(LARGE);
    for protocol in ["TLSv1.3", "TLSv1.2"] {
        assert_eq!(server.connect().call(&["CONFIG", "SET", "tls-protocols", protocol]), "+OK");
        let stream = connect(port, authority.client(None)).expect("the handshake");
        let version = stream.conn.protocol_version().expect("known");
        assert_eq!(version == ProtocolVersion::TLSv1_2, protocol == "TLSv1.2");
        let mut connection = Connection::over(stream);
        let set = connection.call(&[b"SET", b"large", &value]).expect("a reply");
        assert_eq!(set, Reply::Simple("OK".to_owned()));
        let got = connection.call(&[b"GET", b"large"]).expect("a reply");
        assert!(got == Reply::Bulk(Some(value.clone())), "{protocol}");
    }
}

#[test]
fn client_certificates_are_required_optional_or_not_asked_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (server, port) = start(&authority, "yes", &[]);
    let mut plain = server.connect();
    let right = || authority.client(Some((&authority, "client")));
    let wrong = || authority.client(Some((&stranger, "client")));
    // A certificate for servers does not make a client.
    let server_as_client = || authority.client(Some((&authority, "server")));
    let none = || authority.client(None);
    let all = |port| [right(), wrong(), server_as_client(), none()].map(|c| is_served(port, c));
    assert_eq!(all(port), [true, false, false, false]);
    assert_eq!(plain.call(&["CONFIG", "SET", "tls-auth-clients", "optional"]), "+OK");
    assert_eq!(all(port), [true, false, false, true]);
    assert_eq!(plain.call(&["CONFIG", "SET", "tls-auth-clients", "no"]), "+OK");
    assert_eq!(all(port), [true, true, true, true]);
    let dir = stranger.path("");
    let refused = plain.call(&["CONFIG", "SET", "tls-auth-clients", "yes", "tls-ca-cert-file", ""]);
    assert!(refused.contains("Unable to update TLS configuration"), "{refused}");
    let dir = dir.to_str().expect("text");
    let set = ["CONFIG", "SET", "tls-auth-clients", "yes", "tls-ca-cert-dir", dir];
    assert_eq!(plain.call(&set), "+OK");
    assert_eq!(all(port), [true, true, false, false]);
    assert!(server.log().contains("Error accepting a client connection"));
}

/// The certificate that the server shows.
fn shown(stream: &Stream) -> Vec<u8> {
    stream.conn.peer_certificates().expect("shown")[0].to_vec()
}

#[test]
fn certificates_are_exchanged_without_a_restart_or_stay() {
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &[]);
    let first = authority.certificate("server").to_vec();
    let stream = connect(port, authority.client(None)).expect("the handshake");
    assert_eq!(shown(&stream), first);
    let mut old = Client::over(stream);
    let mut plain = server.connect();

    // New contents of the same file count from the next CONFIG SET on.
    authority.issue("server", ServerAuth);
    let second = authority.certificate("server").to_vec();
    let shown_now = || shown(&connect(port, authority.client(None)).expect("the handshake"));
    assert_eq!(shown_now(), first);
    let file = authority.file("server.pem");
    assert_eq!(plain.call(&["CONFIG", "SET", "tls-cert-file", &file]), "+OK");
    assert_eq!(shown_now(), second);
    assert_eq!(old.call(&["PING"]), "+PONG");

    // A key that does not belong to it, no PEM, no file; and a wrong setting beside a right one.
    write(&authority.path("damaged.pem"), "-----BEGIN CERTIFICATE-----\nx\n");
    let key = authority.file("client.key");
    for pairs in [
        &["tls-key-file", &key][..],
        &["tls-cert-file", &authority.file("damaged.pem")],
        &["tls-cert-file", &authority.file("missing.pem")],
        &["tls-protocols", "TLSv1.1"],
        &["tls-ciphers", "RC4"],
        &["tls-ciphersuites", "nonsense"],
        &["timeout", "77", "tls-cert-file", ""],
    ] {
        let refused = plain.call(&[&["CONFIG", "SET"], pairs].concat());
        let name = pairs[pairs.len() - 2];
        assert_eq!(
            refused,
            format!(
                "-ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update \
                 TLS configuration. Check server logs."
            )
        );
        assert_eq!(shown_now(), second, "{pairs:?}");
    }
    assert_eq!(plain.call(&["CONFIG", "GET", "timeout"]), "[timeout, 0]");
    assert_eq!(plain.call(&["CONFIG", "GET", "tls-cert-file"]), format!("[tls-cert-file, {file}]"));
    // Both at once.
    let (pem, key) = (authority.file("client.pem"), authority.file("client.key"));
    let set = ["CONFIG", "SET", "tls-cert-file", &pem, "tls-key-file", &key];
    assert_eq!(plain.call(&set), "+OK");
    let name = connect(port, authority.client(None)).expect_err("no certificate for a server");
    assert!(name.to_string().contains("certificate"), "{name}");
    assert_eq!(old.call(&["PING"]), "+PONG");
}

#[test]
fn the_port_opens_moves_and_closes() {
    let authority = Authority::new();
    let (server, first) = start(&authority, "no", &[]);
    let mut plain = server.connect();
    let mut old = client(first, authority.client(None));
    let second = free_port();
    assert_eq!(plain.call(&["CONFIG", "SET", "tls-port", &second.to_string()]), "+OK");
    assert!(is_served(second, authority.client(None)));
    assert!(TcpStream::connect(("127.0.0.1", first)).is_err());
    let taken = server.port.to_string();
    assert_eq!(
        plain.call(&["CONFIG", "SET", "tls-port", &taken]),
        "-ERR CONFIG SET failed (possibly related to argument 'tls-port') - Unable to listen on \
         this port. Check server logs."
    );
    // What comes before the refused one is taken back.
    let free = free_port().to_string();
    let refused = plain.call(&["CONFIG", "SET", "port", &free, "tls-port", &free]);
    assert!(refused.contains("Unable to listen"), "{refused}");
    drop(server.connect());
    assert!(is_served(second, authority.client(None)));
    assert_eq!(plain.call(&["CONFIG", "SET", "tls-port", "0"]), "+OK");
    assert!(TcpStream::connect(("127.0.0.1", second)).is_err());
    assert_eq!(plain.call(&["CONFIG", "SET", "tls-port", &first.to_string()]), "+OK");
    assert_eq!(plain.call(&["CONFIG", "SET", "port", "0"]), "+OK");
    assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err());
    let mut only = client(first, authority.client(None));
    assert!(only.call(&["INFO", "server"]).contains(&format!("tcp_port:{first}\r\n")));
    assert_eq!((old.call(&["PING"]), plain.call(&["PING"])), ("+PONG".into(), "+PONG".into()));
}

#[test]
fn a_server_may_have_only_tls_and_does_not_start_without_a_certificate() {
    let authority = Authority::new();
    let data = tempfile::tempdir().expect("a temporary directory");
    let dir = data.path().join("data");
    let port = free_port();
    let mut args = authority.arguments(port, "yes");
    args.extend(["--port".to_owned(), "0".to_owned()]);
    let command = |args: &[String]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_siltdb"));
        command.args(args).arg("--dir").arg(&dir).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let without = args.iter().filter(|arg| !arg.contains("key")).cloned().collect::<Vec<_>>();
    let output = command(&without).stdout(Stdio::piped()).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && errors.contains("Failed to configure TLS"), "{errors}");
    assert!(!dir.exists());
    let mut child = command(&args).spawn().expect("it starts");
    let config = || authority.client(Some((&authority, "client")));
    eventually("it answers", || is_served(port, config()));
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
}

#[test]
fn messages_are_pushed() {
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &["--io-threads", "4"]);
    let mut plain = server.connect();
    let mut subscriber = client(port, authority.client(None));
    assert!(subscriber.call(&["HELLO", "3"]).contains("proto, :3"));
    assert_eq!(subscriber.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
    for number in 0..1000 {
        assert_eq!(plain.call(&["PUBLISH", "c", &number.to_string()]), ":1");
    }
    for number in 0..1000 {
        assert_eq!(subscriber.reply(), format!("[message, c, {number}]"));
    }
    // While a call waits, and messages larger than a record.
    subscriber.send(&encode(&[b"BLPOP", b"list", b"0"]));
    eventually("the call waits", || info(&mut plain, "blocked_clients") == "1");
    let large = "x".repeat(1 << 20);
    for _ in 0..3 {
        assert_eq!(plain.call(&["PUBLISH", "c", &large]), ":1");
        assert_eq!(subscriber.reply(), format!("[message, c, {large}]"));
    }
    assert_eq!(plain.call(&["RPUSH", "list", "e"]), ":1");
    assert_eq!(subscriber.reply(), "[list, e]");
    let mut monitor = client(port, authority.client(None));
    assert_eq!(monitor.call(&["MONITOR"]), "+OK");
    assert_eq!(plain.call(&["ECHO", "seen"]), "seen");
    assert!(monitor.reply().contains("\"ECHO\" \"seen\""));
}

#[test]
fn a_client_that_does_not_read_waits_and_is_dropped_at_the_limit() {
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &["--appendfsync", "no"]);
    let mut plain = server.connect();
    let value = bytes(1 << 20);
    plain.send(&encode(&[b"SET", b"k", &value]));
    assert_eq!(plain.reply(), "+OK");
    let mut slow = client(port, authority.client(None));
    let id = slow.call(&["CLIENT", "ID"]).trim_start_matches(':').to_owned();
    let calls = 64;
    slow.send(&encode(&[b"GET", b"k"]).repeat(calls));
    let omem = |plain: &mut Client| {
        let list = plain.call(&["CLIENT", "LIST", "ID", &id]);
        let word = list.split(' ').find_map(|word| word.strip_prefix("omem="));
        word.map_or(0, |number| number.parse::<u64>().expect("a number"))
    };
    eventually("output waits", || omem(&mut plain) > 0);
    assert_eq!(plain.call(&["PING"]), "+PONG");
    for _ in 0..calls {
        assert_eq!(slow.reply().len(), String::from_utf8_lossy(&value).len());
    }
    assert_eq!(slow.call(&["PING"]), "+PONG");
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 2mb 0 0"];
    assert_eq!(plain.call(&limit), "+OK");
    slow.send(&encode(&[b"MGET", b"k", b"k", b"k", b"k"]));
    assert!(slow.is_closed());
    assert_eq!(info(&mut plain, "client_output_buffer_limit_disconnections"), "1");
}

#[test]
fn who_sends_all_before_reading_is_answered() {
    let authority = Authority::new();
    let (_server, port) = start(&authority, "no", &[]);
    let mut client = client(port, authority.client(None));
    let value = bytes(1 << 20);
    for _ in 0..32 {
        client.send(&encode(&[b"ECHO", &value]));
    }
    for _ in 0..32 {
        assert_eq!(client.reply().len(), String::from_utf8_lossy(&value).len());
    }
}

/// What a reader gets until its end, and how that looks.
fn read_rest(stream: &mut Stream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got).err().map(|error| error.kind());
    (got, end)
}

#[test]
fn the_end_is_told_and_what_came_before_is_right() {
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &["--appendfsync", "no"]);
    let mut plain = server.connect();
    let config = || authority.client(None);
    // An idle one that is killed, and one that quits, read a proper end.
    let mut idle = connect(port, config()).expect("the handshake");
    idle.write_all(&encode(&[b"CLIENT", b"ID"])).expect("sent");
    eventually("it is there", || plain.call(&["CLIENT", "LIST"]).contains("cmd=client|id"));
    assert_eq!(plain.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]), ":1");
    let (got, end) = read_rest(&mut idle);
    assert!(got.starts_with(b":") && end.is_none(), "{end:?}");
    let mut quits = connect(port, config()).expect("the handshake");
    quits.write_all(&encode(&[b"QUIT"])).expect("sent");
    assert_eq!(read_rest(&mut quits), (b"+OK\r\n".to_vec(), None));

    // One that is killed within a reply, with half a record on its way, gets nothing wrong.
    let value = bytes(LARGE);
    plain.send(&encode(&[b"SET", b"k", &value]));
    assert_eq!(plain.reply(), "+OK");
    let mut reader = connect(port, config()).expect("the handshake");
    reader.write_all(&encode(&[b"GET", b"k"])).expect("sent");
    let mut start = vec![0; 1 << 20];
    reader.read_exact(&mut start).expect("the first bytes");
    eventually("it waits for the socket", || {
        let killed = plain.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        killed == ":1"
    });
    let (rest, _) = read_rest(&mut reader);
    let mut whole = format!("${LARGE}\r\n").into_bytes();
    whole.extend_from_slice(&value);
    start.extend(rest);
    assert!(start.len() < whole.len() && whole.starts_with(&start), "{}", start.len());
    assert_eq!(plain.call(&["PING"]), "+PONG");
}

#[test]
fn a_waiting_call_ends_with_its_client() {
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &["--io-threads", "4"]);
    let mut plain = server.connect();
    let mut waiting = connect(port, authority.client(None)).expect("the handshake");
    waiting.write_all(&encode(&[b"BLPOP", b"list", b"0"])).expect("sent");
    eventually("the call waits", || info(&mut plain, "blocked_clients") == "1");
    // A request behind the call is found when the call has ended.
    let mut patient = client(port, authority.client(None));
    patient.send(&encode(&[b"BLPOP", b"other", b"0"]));
    eventually("both wait", || info(&mut plain, "blocked_clients") == "2");
    patient.send(&encode(&[b"PING"]));
    // The end that TLS tells comes as bytes.
    waiting.conn.send_close_notify();
    waiting.conn.complete_io(&mut waiting.sock).expect("sent");
    drop(waiting);
    eventually("its call is gone", || info(&mut plain, "blocked_clients") == "1");
    assert_eq!(plain.call(&["RPUSH", "list", "e"]), ":1");
    assert_eq!(plain.call(&["LLEN", "list"]), ":1");
    assert_eq!(plain.call(&["RPUSH", "other", "e"]), ":1");
    assert_eq!((patient.reply(), patient.reply()), ("[other, e]".into(), "+PONG".into()));
    assert_eq!(patient.call(&["ECHO", "x"]), "x");
}

#[test]
fn who_says_nothing_holds_up_nobody_and_is_counted() {
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &["--maxclients", "4"]);
    let mut plain = server.connect();
    let silent = [socket(port).expect("connected"), socket(port).expect("connected")];
    eventually("they count", || info(&mut plain, "connected_clients") == "3");
    let mut fourth = client(port, authority.client(None));
    assert_eq!(fourth.call(&["PING"]), "+PONG");
    assert!(connect(port, authority.client(None)).is_err());
    assert_eq!(info(&mut plain, "rejected_connections"), "1");
    eventually("their time is up", || info(&mut plain, "connected_clients") == "2");
    assert!(server.log().contains("the handshake took too long"));
    for mut socket in silent {
        assert_eq!(socket.read(&mut [0]).expect("the end"), 0);
    }
}

#[test]
fn the_wrong_language_is_closed_and_logged() {
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &[]);
    let mut plain_on_tls = Client::open(port);
    plain_on_tls.send(b"PING\r\n");
    assert!(plain_on_tls.is_closed());
    let mut http = Client::open(port);
    http.send(b"GET / HTTP/1.1\r\n\r\n");
    assert!(http.is_closed());
    eventually("it is logged", || server.log().contains("Error accepting a client connection"));
    let error = connect(server.port, authority.client(None)).expect_err("nobody speaks TLS there");
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
    eventually("it is logged", || server.log().contains("a client speaks TLS"));
    assert!(is_served(port, authority.client(None)));
}

#[test]
fn sessions_are_resumed_where_they_are_kept() {
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &[]);
    let mut plain = server.connect();
    for protocol in ["TLSv1.3", "TLSv1.2"] {
        for (caching, kind) in [("yes", HandshakeKind::Resumed), ("no", HandshakeKind::Full)] {
            let set = ["CONFIG", "SET", "tls-session-caching", caching, "tls-protocols", protocol];
            assert_eq!(plain.call(&set), "+OK");
            let mut config = authority.client(None);
            config.resumption = Resumption::in_memory_sessions(8);
            let handshake = |config: ClientConfig| {
                let mut connection = Connection::over(connect(port, config).expect("handshake"));
                // Tickets of TLS 1.3 come with what is read first.
                connection.call(&[b"PING"]).expect("a reply");
                connection.stream().conn.handshake_kind()
            };
            assert_eq!(handshake(config.clone()), Some(HandshakeKind::Full));
            assert_eq!(handshake(config), Some(kind), "{protocol} {caching}");
        }
    }
}

/// The address of this machine towards others, if it has one.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: it asks for the way.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn protected_mode_refuses_others_behind_the_handshake() {
    let Some(address) = address() else {
        println!("skipped: this machine has no address but its own");
        return;
    };
    let authority = Authority::new();
    let (server, port) = start(&authority, "no", &[]);
    let from_outside = || {
        let socket = TcpStream::connect((address, port)).expect("connects");
        Client::over(handshake(socket, authority.client(None)).expect("the handshake"))
    };
    let mut refused = from_outside();
    let text = String::from_utf8_lossy(&refused.rest()).into_owned();
    assert!(text.starts_with("-DENIED SiltDB is running in protected mode"), "{text}");
    let mut local = client(port, authority.client(None));
    assert_eq!(local.call(&["PING"]), "+PONG", "those of this machine are served");
    assert_eq!(info(&mut server.connect(), "rejected_connections"), "1");
    assert_eq!(server.connect().call(&["CONFIG", "SET", "requirepass", "secret"]), "+OK");
    let mut known = from_outside();
    assert!(known.call(&["PING"]).starts_with("-NOAUTH"));
    assert_eq!(known.call(&["AUTH", "secret"]), "+OK");
    assert_eq!(known.call(&["PING"]), "+PONG");
}

/// rustls knows no other version than the third; as a client neither, so another one shows it.
#[test]
fn a_client_certificate_of_the_first_version_is_refused_and_counted() {
    let authority = Authority::new();
    if !authority.issue_v1("old") {
        println!("skipped: there is no openssl");
        return;
    }
    let (server, port) = start(&authority, "yes", &[]);
    let answer = |name: &str| {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{port}")])
            .args(["-cert", &authority.file(&certificate), "-key", &authority.file(&key)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        // Where it has ended already it was refused.
        drop(client.stdin.take().map(|mut stdin| stdin.write_all(b"PING\r\nQUIT\r\n")));
        let output = client.wait_with_output().expect("its end");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(answer("client"), "+PONG\r\n+OK\r\n", "one of the third version is served");
    assert_eq!(answer("old"), "");
    let mut plain = server.connect();
    eventually("it is counted", || info(&mut plain, "tls_handshakes_failed") == "1");
    assert!(server.log().contains("Error accepting a client connection"), "{}", server.log());
}
