//! The address of a NATS server, with what it may hold of secrets.

use std::fmt;

use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::{
    secrets::HIDDEN,
    setting::{Setting, text_of},
};

/// One server or several of a cluster, and who we are there.
#[derive(Clone)]
pub struct NatsUrl {
    /// Without user and password.
    pub servers: Vec<Url>,
    pub login: Option<NatsLogin>,
}

#[derive(Clone)]
pub enum NatsLogin {
    User { name: String, password: SecretString },
    Token(SecretString),
}

impl Setting for NatsUrl {
    const SECRET: bool = true;

    fn allowed() -> String {
        "nats://HOST:PORT or tls://HOST:PORT, several between commas, with USER:PASSWORD@ or TOKEN@ if need be"
            .to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        let text = text_of(raw)?;
        let mut read = Self {
            servers: vec![],
            login: None,
        };
        for item in text.split(',').map(str::trim) {
            let mut url = Url::parse(item).map_err(|_| "not an address".to_owned())?;
            if !matches!(url.scheme(), "nats" | "tls") || url.host_str().is_none_or(str::is_empty) {
                return Err("not the address of a NATS server".to_owned());
            }
            if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
                return Err("has a path, query or fragment".to_owned());
            }
            read.login = read.login.or(login(&url));
            // Neither can fail: there is a host.
            let _ = url.set_username("").and_then(|()| url.set_password(None));
            read.servers.push(url);
        }
        Ok(read)
    }

    fn shown(&self) -> Option<Value> {
        Some(self.to_string().into())
    }
}

fn login(url: &Url) -> Option<NatsLogin> {
    let plain = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    match (url.username(), url.password()) {
        ("", None) => None,
        (token, None) => Some(NatsLogin::Token(plain(token).into())),
        (name, Some(password)) => Some(NatsLogin::User {
            name: plain(name),
            password: plain(password).into(),
        }),
    }
}

/// Fit for people: the secrets hidden.
impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, server) in self.servers.iter().enumerate() {
            let text = server.as_str().trim_end_matches('/');
            let (scheme, rest) = text.split_once("://").unwrap_or_default();
            let comma = if n == 0 { "" } else { "," };
            let hidden = if n == 0 && self.login.is_some() {
                HIDDEN
            } else {
                ""
            };
            let at = if hidden.is_empty() { "" } else { "@" };
            write!(f, "{comma}{scheme}://{hidden}{at}{rest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn read(text: &str) -> Result<NatsUrl, String> {
        NatsUrl::read(&text.into())
    }

    #[test]
    fn g12_what_a_url_holds_of_secrets_is_used_and_never_shown() {
        let url = read("nats://me:p%40ss@a.example:4222, tls://b.example").unwrap();
        assert_eq!(url.to_string(), "nats://<hidden>@a.example:4222,tls://b.example");
        assert_eq!(format!("{url:?}"), url.to_string());
        let Some(NatsLogin::User { name, password }) = url.login else {
            panic!("no user");
        };
        assert_eq!((name.as_str(), password.expose_secret()), ("me", "p@ss"));
        let token = read("nats://t0ken@[::1]:4222").unwrap();
        assert_eq!(token.to_string(), "nats://<hidden>@[::1]:4222");
        assert!(matches!(token.login, Some(NatsLogin::Token(_))));
        assert_eq!(
            read("nats://127.0.0.1:4222").unwrap().to_string(),
            "nats://127.0.0.1:4222"
        );
    }

    #[test]
    fn other_addresses_are_refused_without_a_word_of_them() {
        for bad in [
            "http://secret@x",
            "nats://",
            "secret",
            "nats://x/secret",
            "nats://a,,b",
            "nats://x?secret",
        ] {
            let why = read(bad).expect_err(bad);
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
