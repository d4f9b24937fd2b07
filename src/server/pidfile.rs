//! The file that names this process while it runs (`pidfile`).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Settings;
use crate::env::Fs;

/// The written file, removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
}

impl PidFile {
    /// Writes the file; `None` where no path is set, or where it cannot be written, which is no
    /// reason to not serve.
    pub(crate) fn write(fs: Arc<dyn Fs>, settings: &Settings) -> Option<Self> {
        let path = &settings.pidfile;
        if path.is_empty() {
            return None;
        }
        let file = Self { fs, path: settings.in_dir(path) };
        match file.replace() {
            Ok(()) => Some(file),
            Err(error) => {
                tracing::warn!(path, %error, "the pidfile could not be written");
                None
            }
        }
    }

    /// One that a killed process has left is replaced.
    fn replace(&self) -> io::Result<()> {
        match self.fs.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.fs.create(&self.path)?;
        file.write_at(0, format!("{}\n", std::process::id()).as_bytes())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = self.fs.remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the pidfile could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::env::SimFs;

    #[test]
    fn it_names_the_process_and_goes_with_it() {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("/run")).unwrap();
        let written = |pidfile: &str| {
            let pidfile = pidfile.to_owned();
            let settings = Settings { pidfile, dir: "/run".to_owned(), ..Settings::default() };
            PidFile::write(fs.shared(), &settings)
        };
        assert!(written("").is_none());
        let path = Path::new("/run/server.pid");
        fs.create(path).unwrap().write_at(0, b"1234567890123").unwrap();
        let file = written("server.pid");
        let text = String::from_utf8(fs.read(path).unwrap().to_vec()).unwrap();
        assert_eq!(text.trim().parse(), Ok(std::process::id()));
        drop(file);
        assert!(fs.read(path).is_err());
        assert!(written("/nowhere/server.pid").is_none());
    }
}
