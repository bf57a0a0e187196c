//! Standard Webhooks 1.0.0: sign and verify bytes.

use super::delivery::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// Secrets are 24–64 random bytes, as the specification asks.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How far a message's stamp may lie from the receiver's clock, in seconds.
pub const TOLERANCE_S: u64 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("a webhook secret is `whsec_` followed by base64")]
    Malformed,
    #[error("a webhook secret holds 24 to 64 bytes")]
    Length,
}

impl Secret {
    /// Reads `whsec_` + base64.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Malformed)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError::Malformed)?;
        if SECRET_BYTES.contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(SecretError::Length)
        }
    }

    /// The form a user keeps; shown once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }
}

/// The `webhook-signature` of exactly these bytes, sent under this id at this second.
pub fn sign(secret: &Secret, id: &str, timestamp_s: i64, body: &[u8]) -> String {
    format!(
        "v1,{}",
        STANDARD.encode(mac(secret, id, timestamp_s, body).finalize().into_bytes())
    )
}

/// Whether one of the space-separated signatures is ours, compared in constant time, and the stamp is fresh.
pub fn verify(
    secret: &Secret,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
    signatures: &str,
    now_s: i64,
) -> bool {
    let fresh = now_s.abs_diff(timestamp_s) <= TOLERANCE_S;
    let ours = |signature: &str| {
        let encoded = signature
            .strip_prefix("v1,")
            .and_then(|s| STANDARD.decode(s).ok());
        encoded.is_some_and(|tag| mac(secret, id, timestamp_s, body).verify_slice(&tag).is_ok())
    };
    fresh && signatures.split(' ').any(ours)
}

fn mac(secret: &Secret, id: &str, timestamp_s: i64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn published() -> Secret {
        Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
    }

    #[test]
    fn t13_the_published_vector() {
        let signature = sign(&published(), ID, 1_614_265_330, BODY);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(verify(
            &published(),
            ID,
            1_614_265_330,
            BODY,
            &format!("v1,AAAA {signature}"),
            1_614_265_330
        ));
    }

    #[test]
    fn t13_an_old_message_is_refused() {
        let signature = sign(&published(), ID, 1_000, BODY);
        assert!(verify(&published(), ID, 1_000, BODY, &signature, 1_300));
        assert!(!verify(&published(), ID, 1_000, BODY, &signature, 1_301));
        assert!(!verify(&published(), ID, 1_000, BODY, &signature, 699));
    }

    #[test]
    fn secrets_have_bounds_and_round_trip() {
        assert_eq!(Secret::parse("whsec_AAAA"), Err(SecretError::Length));
        assert_eq!(
            Secret::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            Err(SecretError::Malformed)
        );
        assert_eq!(Secret::parse(&published().reveal()), Ok(published()));
        assert_eq!(format!("{:?}", published()), "Secret(<hidden>)");
    }

    proptest! {
        #[test]
        fn t13_any_changed_byte_breaks_the_signature(body in proptest::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let signature = sign(&published(), ID, 5, &body);
            let mut changed = body.clone();
            changed[at.index(body.len())] ^= 1 << bit;
            prop_assert!(verify(&published(), ID, 5, &body, &signature, 5));
            prop_assert!(!verify(&published(), ID, 5, &changed, &signature, 5));
        }
    }
}
