//! What a start that fails leaves behind.

use std::net::TcpListener;
use std::process::Command;

#[test]
fn a_server_that_cannot_listen_makes_no_data_directory() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    for args in [&["--port", &port, "--bind", "127.0.0.1"][..], &["--port", "0"]] {
        let mut server = Command::new(env!("CARGO_BIN_EXE_siltdb"));
        let output = server.args(args).arg("--dir").arg(&dir).output().expect("it runs");
        assert!(!output.status.success(), "{args:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("listen"), "{errors}");
        assert!(!dir.exists(), "{args:?}");
    }
}
