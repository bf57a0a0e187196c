//! Which addresses the service may connect to on someone else's word: sources of results, event endpoints.
//!
//! The rules alone; looking names up and connecting is the guard's work (`adapters/guard.rs`).

mod special;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use url::{Host, Url};

pub use special::is_global;

/// Why a connection is not made. The text is fit for the client who named the URL: it tells no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error("only https is allowed")]
    ForbiddenScheme,
    #[error("a URL must not hold a user or password")]
    HasUserinfo,
    #[error("a URL must not hold a fragment")]
    HasFragment,
    #[error("the URL names no host")]
    NoHost,
    #[error("the host is not on the list of allowed hosts")]
    ForbiddenHost,
    #[error("only port 443 is allowed")]
    ForbiddenPort,
    /// The address is for logs.
    #[error("the host is at an address that is not public")]
    ForbiddenAddress(IpAddr),
    #[error("the host's name could not be resolved")]
    Unresolvable,
}

impl GuardError {
    /// Stable, for clients and logs.
    pub fn code(self) -> &'static str {
        match self {
            GuardError::ForbiddenScheme => "forbidden_scheme",
            GuardError::HasUserinfo => "has_userinfo",
            GuardError::HasFragment => "has_fragment",
            GuardError::NoHost => "no_host",
            GuardError::ForbiddenHost => "forbidden_host",
            GuardError::ForbiddenPort => "forbidden_port",
            GuardError::ForbiddenAddress(_) => "forbidden_address",
            GuardError::Unresolvable => "unresolvable",
        }
    }

    /// Whether the same URL may be allowed later. A name server can be away for a while; a rule stays.
    pub fn is_retryable(self) -> bool {
        matches!(self, GuardError::Unresolvable)
    }
}

/// What a URL is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// A result is read from it: its host must be on this list.
    Source(&'a [HostPattern]),
    /// Events are sent to it: any host.
    Endpoint,
}

impl Purpose<'_> {
    fn allows(self, host: &str) -> bool {
        match self {
            Purpose::Source(patterns) => patterns.iter().any(|pattern| pattern.matches(host)),
            Purpose::Endpoint => true,
        }
    }
}

/// Which addresses the host of a checked URL must have. All of them, not some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public ones or those allowed by the operator: an https URL on port 443.
    Public,
    /// Only those allowed by the operator; the error says what else is wrong with the URL.
    OnlyAllowed(GuardError),
}

/// The operator's exceptions from "public addresses only" (`net.allow_private`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRule {
    allow_private: Vec<IpNet>,
}

impl AddressRule {
    pub fn new(allow_private: Vec<IpNet>) -> Self {
        AddressRule { allow_private }
    }

    /// Whether no address has leave to be reached over http or on another port.
    pub fn is_strict(&self) -> bool {
        self.allow_private.is_empty()
    }

    /// Judges all addresses of one host.
    ///
    /// # Errors
    /// `Unresolvable` when there are none; else the first fault found.
    pub fn check_addresses(&self, reach: Reach, addresses: &[IpAddr]) -> Result<(), GuardError> {
        if addresses.is_empty() {
            return Err(GuardError::Unresolvable);
        }
        let mut guarded = addresses
            .iter()
            .filter(|address| !self.allows(**address))
            .peekable();
        let any_guarded = guarded.peek().is_some();
        if let Some(address) = guarded.find(|address| !is_global(**address)) {
            return Err(GuardError::ForbiddenAddress(*address));
        }
        match reach {
            Reach::OnlyAllowed(fault) if any_guarded => Err(fault),
            _ => Ok(()),
        }
    }

    /// Whether the operator names this address. An IPv4 address in IPv6 clothing is that IPv4 address.
    fn allows(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.allow_private.iter().any(|net| net.contains(&canonical))
    }
}

/// Judges what can be judged without looking a name up. An IP literal is judged in full; for a name the answer
/// says what [`AddressRule::check_addresses`] must be asked about whatever it resolves to.
///
/// # Errors
/// The first fault found. None of them is retryable.
pub fn check_url(url: &Url, purpose: Purpose<'_>, rule: &AddressRule) -> Result<Reach, GuardError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(GuardError::ForbiddenScheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(GuardError::HasUserinfo);
    }
    if url.fragment().is_some() {
        return Err(GuardError::HasFragment);
    }
    let host = url.host().ok_or(GuardError::NoHost)?;
    if !purpose.allows(&host.to_string()) {
        return Err(GuardError::ForbiddenHost);
    }
    let reach = reach_of(url);
    match (host, reach) {
        (Host::Domain(name), _) if name.trim_matches('.').is_empty() => Err(GuardError::NoHost),
        // No address could make this right: say so before asking a name server.
        (Host::Domain(_), Reach::OnlyAllowed(fault)) if rule.is_strict() => Err(fault),
        (Host::Domain(_), reach) => Ok(reach),
        (Host::Ipv4(address), reach) => rule.check_addresses(reach, &[address.into()]).map(|()| reach),
        (Host::Ipv6(address), reach) => rule.check_addresses(reach, &[address.into()]).map(|()| reach),
    }
}

fn reach_of(url: &Url) -> Reach {
    match (url.scheme(), url.port_or_known_default()) {
        ("https", Some(443)) => Reach::Public,
        ("https", _) => Reach::OnlyAllowed(GuardError::ForbiddenPort),
        _ => Reach::OnlyAllowed(GuardError::ForbiddenScheme),
    }
}

/// A host that results may be read from, as in `archive.allowed_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host and no other, an IP literal included (IPv6 in brackets).
    Exact(String),
    /// Every host below this one, not the host itself.
    Below(String),
}

impl HostPattern {
    /// `host` as `Url::host_str` gives it: lower case, international names in ASCII, IPv6 in brackets. A name
    /// with a trailing dot is another spelling that no pattern means.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => host == name,
            HostPattern::Below(parent) => host
                .strip_suffix(parent.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|labels| labels.split('.').all(|label| !label.is_empty())),
        }
    }
}

/// What [`FromStr`] reads.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// `host`, `*.host`, an IPv4 literal or an IPv6 literal in brackets; without scheme and port.
impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (wildcard, name) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        if name.contains('*') {
            return Err("a wildcard stands only in front, as *.".into());
        }
        match Host::parse(name).map_err(|_| "not a host name".to_owned())? {
            Host::Domain(domain) if domain.split('.').any(str::is_empty) => Err("has an empty label".into()),
            Host::Domain(domain) if wildcard => Ok(HostPattern::Below(domain)),
            _ if wildcard => Err("an address has no hosts below it".into()),
            host => Ok(HostPattern::Exact(host.to_string())),
        }
    }
}
