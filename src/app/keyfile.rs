//! Callback keys: from the settings, else made once and kept under `data.dir`.

use super::AppError;
use crate::config::Settings;
use crate::domain::token::CallbackKeys;
use crate::ports::clock::Rng;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

const FILE: &str = "callback.keys";

pub fn callback_keys(settings: &Settings, rng: &dyn Rng) -> Result<CallbackKeys, AppError> {
    let given: Vec<[u8; 32]> = settings.callback.keys.iter().map(|k| *k.expose()).collect();
    let keys = if given.is_empty() {
        kept_or_made(&settings.data.dir, rng)?
    } else {
        given
    };
    CallbackKeys::new(&keys).ok_or_else(|| AppError::Failed {
        what: format!(
            "{} holds no key; remove it, and one is made",
            settings.data.dir.join(FILE).display()
        ),
        source: None,
    })
}

fn kept_or_made(dir: &Path, rng: &dyn Rng) -> Result<Vec<[u8; 32]>, AppError> {
    let path = dir.join(FILE);
    let failed = |e| AppError::failed(format!("{} cannot be read or written", path.display()), e);
    match fs::read_to_string(&path) {
        Ok(text) => text
            .lines()
            .filter(|l| !l.trim().is_empty())
            .map(|l| read_key(l, &path))
            .collect(),
        Err(e) if e.kind() == ErrorKind::NotFound => make(dir, &path, rng).map_err(failed),
        Err(e) => Err(failed(e)),
    }
}

fn read_key(line: &str, path: &Path) -> Result<[u8; 32], AppError> {
    let bytes = STANDARD
        .decode(line.trim())
        .ok()
        .and_then(|b| <[u8; 32]>::try_from(b).ok());
    bytes.ok_or_else(|| AppError::Failed {
        what: format!("{} holds a line that is not 32 bytes of base64", path.display()),
        source: None,
    })
}

/// Written whole under another name first: a key that signed a callback URL must not be lost half-written.
fn make(dir: &Path, path: &Path, rng: &dyn Rng) -> std::io::Result<Vec<[u8; 32]>> {
    let mut key = [0; 32];
    rng.fill(&mut key);
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{}", STANDARD.encode(key))?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(dir)?.sync_all()?;
    Ok(vec![key])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::system::SystemRng;
    use crate::domain::ids::TaskId;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_kept_for_the_owner_alone_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.data.dir = dir.path().join("data");
        let token = callback_keys(&settings, &SystemRng)
            .unwrap()
            .sign(TaskId(uuid::Uuid::nil()));
        let again = callback_keys(&settings, &SystemRng).unwrap();
        assert!(again.verify(&token).is_some());
        let mode = fs::metadata(settings.data.dir.join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.data.dir = dir.path().to_owned();
        for damaged in ["nonsense\n", "\n"] {
            fs::write(dir.path().join(FILE), damaged).unwrap();
            assert!(callback_keys(&settings, &SystemRng).is_err());
            assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), damaged);
        }
    }
}
