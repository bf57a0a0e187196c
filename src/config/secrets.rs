//! Values that are never printed: hidden from `Debug`, from `config show` and from every error.

use std::{fmt, path::Path, sync::Arc};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use serde_json::Value;

use super::setting::{Setting, text_of};

/// What `config show` prints in place of a secret.
pub(super) const HIDDEN: &str = "<hidden>";

/// Largest secret file, in bytes: dozens of keys fit, a wrong path to something big does not.
const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;

/// An API key that travels in a header.
impl Setting for SecretString {
    const SECRET: bool = true;

    fn allowed() -> String {
        "the key itself: visible ASCII characters without spaces".to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        let text = text_of(raw)?;
        match text.trim() {
            "" => Err("is empty".to_owned()),
            key if key.bytes().all(|b| b.is_ascii_graphic()) => Ok(key.into()),
            _ => Err("has spaces or characters that no header can carry".to_owned()),
        }
    }

    fn shown(&self) -> Option<Value> {
        Some(HIDDEN.into())
    }
}

/// A key of 32 bytes that signs or verifies callback tokens.
#[derive(Clone)]
pub struct CallbackKey(Arc<SecretBox<[u8; 32]>>);

impl CallbackKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(SecretBox::new(Box::new(bytes))))
    }

    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for CallbackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Setting for CallbackKey {
    const SECRET: bool = true;

    fn allowed() -> String {
        "base64 keys of 32 bytes, such as `openssl rand -base64 32` prints".to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        let bytes = decode_base64(text_of(raw)?.trim()).ok_or("an entry is not base64")?;
        let length = bytes.len();
        let key = bytes
            .try_into()
            .map_err(|_| format!("an entry has {length} bytes instead of 32"))?;
        Ok(Self::new(key))
    }

    fn shown(&self) -> Option<Value> {
        Some(HIDDEN.into())
    }
}

/// Either alphabet, with or without padding: people paste what their tools print.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) {
        alphabet::URL_SAFE
    } else {
        alphabet::STANDARD
    };
    GeneralPurpose::new(&alphabet, config).decode(text).ok()
}

/// The content of a `<key>_file`, without the line break that editors add.
///
/// # Errors
/// A sentence that names the file but not its content.
pub(super) fn read_secret_file(path: &Path) -> Result<String, String> {
    let failed = |fault: std::io::Error| format!("cannot read {}: {fault}", path.display());
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_SECRET_FILE_BYTES {
        return Err(format!(
            "{} has more than {MAX_SECRET_FILE_BYTES} bytes",
            path.display()
        ));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        Err(format!("{} is empty", path.display()))
    } else {
        Ok(text.to_owned())
    }
}
