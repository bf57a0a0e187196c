//! Faults for one request: a header on it, or a directive in a prompt that came through another service.
//!
//! ```text
//! list      = setting *( separator setting )      separator = ";" | ","
//! setting   = name [ "=" value ]                  name = a fault switch in kebab case
//! header    = "X-Simulate:" list
//! directive = "[sim:" list "]"                    anywhere in positivePrompt
//! ```
//!
//! `lose-callbacks` alone means always; `lose-callbacks=0.3` a chance; `fail=1`, `render=200ms`, `cut-download=1000`
//! and `callback-shapes=A+E` give a number, a time, bytes, alternatives.

use super::faults::Faults;

/// Switches that override the faults in force, for one request or for all that concerns one task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overlay(Vec<(String, Option<String>)>);

impl Overlay {
    /// Reads a list of settings.
    ///
    /// # Errors
    /// A sentence about the first setting that is unknown or has no such value.
    pub fn read(list: &str) -> Result<Self, String> {
        let mut overlay = Self::default();
        let settings = list
            .split([';', ','])
            .map(str::trim)
            .filter(|setting| !setting.is_empty());
        for setting in settings {
            match setting.split_once('=') {
                Some((name, value)) => overlay.push(name.trim(), Some(value.trim()))?,
                None => overlay.push(setting, None)?,
            }
        }
        Ok(overlay)
    }

    /// Reads the directive in a prompt, if it has one.
    ///
    /// # Errors
    /// As [`Overlay::read`], or the bracket is not closed.
    pub fn in_prompt(prompt: &str) -> Result<Self, String> {
        let Some(start) = prompt.find("[sim:") else {
            return Ok(Self::default());
        };
        let list = &prompt[start + "[sim:".len()..];
        let end = list.find(']').ok_or("the [sim: …] directive is not closed")?;
        Self::read(&list[..end])
    }

    /// Adds one setting, tried out first so that a mistake is told to the one who made it.
    ///
    /// # Errors
    /// As [`Overlay::read`].
    pub fn push(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        Faults::none().set(name, value)?;
        self.0.push((name.to_owned(), value.map(str::to_owned)));
        Ok(())
    }

    /// This overlay, then `other` over it.
    pub fn and(&self, other: &Overlay) -> Overlay {
        Overlay(self.0.iter().chain(&other.0).cloned().collect())
    }

    pub fn over(&self, base: &Faults) -> Faults {
        let mut faults = base.clone();
        for (name, value) in &self.0 {
            faults
                .set(name, value.as_deref())
                .expect("every setting was tried when it was added");
        }
        faults
    }
}
