//! The secret in a callback URL: base64url of `key id (1) | task UUID (16) | tag (16)`, where the tag is the first 16
//! bytes of HMAC-SHA256(key, "cb.v1\0" | key id | task UUID). No expiry: the task's row decides.

use super::ids::TaskId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use uuid::Uuid;

const TOKEN_BYTES: usize = 1 + 16 + 16;
/// 33 bytes are a whole number of base64 groups: exactly one text per token.
const TOKEN_CHARS: usize = 44;

/// The keys callbacks are signed with: the first signs, all verify.
#[derive(Clone)]
pub struct CallbackKeys(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: u8,
    bytes: [u8; 32],
}

impl CallbackKeys {
    /// `None` when there is no key. A key's id is the first byte of its SHA-256, so that it keeps its id wherever it
    /// stands in the list; two keys may share one.
    pub fn new(keys: &[[u8; 32]]) -> Option<Self> {
        let keys: Vec<Key> = keys
            .iter()
            .map(|k| Key {
                id: key_id(k),
                bytes: *k,
            })
            .collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    pub fn sign(&self, task: TaskId) -> String {
        let key = &self.0[0]; // never empty: `new` saw to it
        let mut token = [0; TOKEN_BYTES];
        token[0] = key.id;
        token[1..17].copy_from_slice(task.as_bytes());
        token[17..].copy_from_slice(&tag(&key.bytes, key.id, task.as_bytes()));
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The task a token was signed for. Shape, then key id, then a constant-time compare; an unknown key id costs the
    /// same as a wrong tag.
    pub fn verify(&self, token: &str) -> Option<TaskId> {
        if token.len() != TOKEN_CHARS {
            return None;
        }
        let bytes: [u8; TOKEN_BYTES] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let task: [u8; 16] = bytes[1..17].try_into().ok()?;
        let signed_by = |key: &[u8; 32]| bool::from(tag(key, bytes[0], &task).ct_eq(&bytes[17..]));
        let mut known = self.0.iter().filter(|k| k.id == bytes[0]).peekable();
        if known.peek().is_none() {
            let _same_work = signed_by(&[0; 32]);
            return None;
        }
        known
            .any(|k| signed_by(&k.bytes))
            .then_some(TaskId(Uuid::from_bytes(task)))
    }
}

impl fmt::Debug for CallbackKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackKeys({} hidden)", self.0.len())
    }
}

fn key_id(key: &[u8; 32]) -> u8 {
    Sha256::digest(key)[0]
}

fn tag(key: &[u8; 32], id: u8, task: &[u8; 16]) -> [u8; 16] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(b"cb.v1\0");
    mac.update(&[id]);
    mac.update(task);
    let full = mac.finalize().into_bytes();
    std::array::from_fn(|n| full[n])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> CallbackKeys {
        CallbackKeys::new(&[[7; 32], [9; 32]]).unwrap()
    }

    proptest! {
        #[test]
        fn t6_a_token_opens_its_own_task_only(id in any::<u128>()) {
            let task = TaskId(Uuid::from_u128(id));
            prop_assert_eq!(keys().verify(&keys().sign(task)), Some(task));
        }

        #[test]
        fn t6_every_bit_flip_is_refused(id in any::<u128>(), bit in 0..TOKEN_BYTES * 8) {
            let token = keys().sign(TaskId(Uuid::from_u128(id)));
            let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(keys().verify(&URL_SAFE_NO_PAD.encode(bytes)), None);
        }

        #[test]
        fn t6_any_text_is_refused_without_a_panic(text in ".{0,80}") {
            prop_assert_eq!(keys().verify(&text), None);
        }
    }

    #[test]
    fn t6_only_the_canonical_form_is_taken() {
        let token = keys().sign(TaskId(Uuid::from_u128(1)));
        for other in [
            format!("{token}="),
            format!(" {token}"),
            token[..43].to_owned(),
            token.replace('_', "/"),
        ] {
            assert!(other == token || keys().verify(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_rotated_key_still_verifies_and_a_removed_one_does_not() {
        let old = CallbackKeys::new(&[[9; 32]]).unwrap();
        let token = old.sign(TaskId(Uuid::from_u128(2)));
        assert!(keys().verify(&token).is_some());
        assert!(CallbackKeys::new(&[[7; 32]]).unwrap().verify(&token).is_none());
        assert!(CallbackKeys::new(&[]).is_none());
    }
}
