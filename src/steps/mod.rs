//! The story, one chapter a file, each a function over ports. No step calls another: they meet in the store.

pub mod receive; // a callback's body → a stored receipt
pub mod submit; // a client's tasks → stored, answered
