//! The file of a unix socket.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Removes a socket left behind at `path`, or an empty file that keeps its place. Not there: fine.
/// Something else there: an error.
pub fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(found) if found.is_file() && found.len() == 0 => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} exists and is no socket", path.display()),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sets the permission bits of `path`.
pub fn set_permissions(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::env::open_for_append;

    #[test]
    fn what_holds_something_is_not_removed() {
        let dir = std::env::temp_dir().join(format!("siltdb-socket-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("socket");
        remove_socket(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        remove_socket(&path).unwrap();
        drop(open_for_append(&path).unwrap());
        remove_socket(&path).unwrap();
        assert!(!path.exists());
        open_for_append(&path).unwrap().write_all(b"data").unwrap();
        assert!(remove_socket(&path).is_err() && path.exists());
        assert!(remove_socket(&dir).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
