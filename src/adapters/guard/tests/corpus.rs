//! T9, I15: every spelling of a forbidden address that has ever led somewhere, by literal, by name and by a name that
//! changes its mind; for downloads (even where the operator lists the very host) and for event endpoints alike. A
//! listener stands for the metadata service, a name server of ours writes down what it was asked.

use super::*;
use crate::domain::address::HostPattern;

/// IP literals in every notation that URL parsers or resolvers understand, one family a line.
const LITERALS: &[&str] = &[
    // Loopback.
    "127.0.0.1 127.1 127.0.1 127.255.255.254 2130706433 017700000001 0177.0.0.1 0177.0.0.01 0x7f000001 0x7F.1",
    "0x7f.0x0.0x0.0x1 00000177.00.00.01 127.0.0.1. 127%2e0%2e0%2e1 127。0。0。1 ①②⑦.⓪.⓪.① １２７.0.0.1",
    // This host.
    "0 0.0.0.0 0x0 00.0.0.0",
    // Private.
    "10.0.0.1 10.1 167772161 012.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 192.168.257 3232235521 0xc0a80001",
    // Cloud metadata.
    "169.254.169.254 169.254.43518 2852039166 0xa9fea9fe 0251.0376.0251.0376 025177524776 0xA9.254.0251.0xFE",
    "169.254.170.2 100.100.100.200 192.0.0.192",
    // Carrier-grade NAT, protocol assignments, documentation, benchmarks, relays, multicast, reserved, broadcast.
    "100.64.0.1 100.127.255.255 192.0.0.8 192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 198.19.255.255",
    "192.88.99.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 4294967295",
    // IPv6: loopback, unspecified, link-local, site-local, unique local, cloud metadata.
    "[::1] [::] [0:0:0:0:0:0:0:1] [0000::0001] [fe80::1] [fe80::a9fe:a9fe] [febf::1] [fec0::1] [fc00::1]",
    "[fd12:3456::1] [fd00:ec2::254] [fd20:ce::254]",
    // IPv4 in IPv6 clothes: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP.
    "[::ffff:127.0.0.1] [::FFFF:7f00:1] [0:0:0:0:0:ffff:a9fe:a9fe] [::ffff:10.0.0.1] [::ffff:100.64.0.1]",
    "[::127.0.0.1] [::a9fe:a9fe] [::ffff:0:127.0.0.1]",
    "[64:ff9b::7f00:1] [64:ff9b::169.254.169.254] [64:ff9b::10.0.0.1] [64:ff9b:1::7f00:1] [64:ff9b:1::8.8.8.8]",
    "[2002:7f00:1::1] [2002:a9fe:a9fe::] [2002:808:808::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe] [2001::1] [fe80::5efe:7f00:1]",
    // Discard-only, benchmarks, ORCHID, documentation, segment routing, multicast, not assigned.
    "[100::1] [2001:2::1] [2001:10::1] [2001:20::1] [2001:db8::1] [3fff::1] [5f00::1] [ff02::1] [ff0e::1]",
    "[4000::1] [e000::1]",
];

/// Names and what they resolve to; one bad address is enough.
const NAMES: &[(&str, &[&str])] = &[
    ("loopback.example", &["127.0.0.1"]),
    ("LoopBack.Example", &["127.0.0.53"]),
    ("localhost", &["127.0.0.1"]),
    ("LOCALHOST", &["::1"]),
    ("ｌｏｃａｌｈｏｓｔ", &["127.0.0.1"]),
    ("metadata.google.internal", &["169.254.169.254"]),
    ("metadata.example", &["fd00:ec2::254"]),
    ("private-a.example", &["10.1.2.3"]),
    ("private-b.example", &["172.20.0.1"]),
    ("private-c.example", &["192.168.1.1"]),
    ("shared.example", &["100.64.7.7"]),
    ("link.example", &["fe80::1"]),
    ("unspecified.example", &["0.0.0.0"]),
    ("unspecified6.example", &["::"]),
    ("broadcast.example", &["255.255.255.255"]),
    ("multicast.example", &["224.0.0.251"]),
    ("mapped.example", &["::ffff:127.0.0.1"]),
    ("compatible.example", &["::127.0.0.1"]),
    ("nat64.example", &["64:ff9b::a9fe:a9fe"]),
    ("local-nat64.example", &["64:ff9b:1::808:808"]),
    ("6to4.example", &["2002:7f00:1::1"]),
    ("teredo.example", &["2001:0:4136:e378:8000:63bf:80ff:fffe"]),
    ("unique-local.example", &["fd00::1"]),
    ("mixed.example", &["8.8.8.8", "127.0.0.1"]),
    ("mixed-turned.example", &["127.0.0.1", "8.8.8.8"]),
    ("mixed-families.example", &["2606:4700::1111", "10.0.0.1"]),
    (
        "mixed-late.example",
        &["8.8.8.8", "8.8.4.4", "1.1.1.1", "2606:4700::1111", "192.168.0.1"],
    ),
    ("mixed-mapped.example", &["8.8.8.8", "::ffff:169.254.169.254"]),
    ("bücher.example", &["192.168.0.9"]),
    ("xn--bcher-kva.example", &["192.168.0.9"]),
    ("вход.example", &["10.0.0.9"]),
    ("a-very.deep.name.below.some.example", &["172.16.5.5"]),
    ("127.0.0.1.example", &["127.0.0.1"]),
    ("1ynrnhl.example", &["169.254.169.254"]),
];

/// What the URL itself is refused for, whatever the host is. `{port}` is the listener's.
const URLS: &[(&str, &str)] = &[
    ("http://public.example/", "forbidden_scheme"),
    ("http://public.example:443/", "forbidden_scheme"),
    ("http://8.8.8.8/", "forbidden_scheme"),
    ("https://public.example:{port}/", "forbidden_port"),
    ("https://public.example:22/", "forbidden_port"),
    ("https://public.example:0/", "forbidden_port"),
    ("https://public.example:8443/", "forbidden_port"),
    ("https://8.8.8.8:6379/", "forbidden_port"),
    ("https://[2606:4700::1111]:9200/", "forbidden_port"),
    ("https://user@public.example/", "has_userinfo"),
    ("https://user:password@public.example/", "has_userinfo"),
    ("https://:password@public.example/", "has_userinfo"),
    ("https://public.example@127.0.0.1/", "has_userinfo"),
    ("https://public.example:443@127.0.0.1:{port}/", "has_userinfo"),
    ("https://127.0.0.1:{port}@public.example/", "has_userinfo"),
    ("https://public.example%2f@127.0.0.1/", "has_userinfo"),
    ("https://public.example/#@127.0.0.1/", "has_fragment"),
    ("https://public.example/x#", "has_fragment"),
    ("ftp://127.0.0.1:{port}/", "forbidden_scheme"),
    ("gopher://127.0.0.1:{port}/_INFO", "forbidden_scheme"),
    ("dict://127.0.0.1:{port}/info", "forbidden_scheme"),
    ("ldap://127.0.0.1:{port}/", "forbidden_scheme"),
    ("file:///etc/passwd", "forbidden_scheme"),
    ("file://127.0.0.1/etc/passwd", "forbidden_scheme"),
    ("ws://127.0.0.1:{port}/", "forbidden_scheme"),
    ("jar:https://127.0.0.1!/", "forbidden_scheme"),
    ("data:text/plain,x", "forbidden_scheme"),
    ("javascript:alert(1)", "forbidden_scheme"),
    ("unix:///var/run/docker.sock", "forbidden_scheme"),
];

/// Names whose first answer is public and whose next one is not.
const REBOUND: &[(&str, &[&str])] = &[
    ("to-loopback.example", &["127.0.0.1"]),
    ("to-metadata.example", &["169.254.169.254"]),
    ("to-private.example", &["10.0.0.1"]),
    ("to-mixed.example", &["8.8.8.8", "127.0.0.1"]),
    ("to-v6.example", &["::1"]),
    ("to-mapped.example", &["::ffff:127.0.0.1"]),
    ("to-nat64.example", &["64:ff9b::7f00:1"]),
];

fn literals() -> Vec<&'static str> {
    LITERALS.iter().flat_map(|line| line.split(' ')).collect()
}

/// A name server: answers by list, the last answer for ever, and writes down each question.
#[derive(Default)]
struct Dns {
    names: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Lookup for Dns {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().expect("no panic").push(name.to_owned());
        let mut names = self.names.lock().expect("no panic");
        let answers = names
            .get_mut(name)
            .ok_or_else(|| io::Error::other("no such name"))?;
        let next = match answers.len() {
            2.. => answers.pop_front(),
            _ => answers.front().cloned(),
        };
        Ok(next.unwrap_or_default())
    }
}

impl Dns {
    fn answering(name: &str, answers: &[&[&str]]) -> Arc<Self> {
        let addresses = |texts: &&[&str]| texts.iter().map(|text| address(text)).collect();
        let answers = answers.iter().map(addresses).collect();
        let dns = Self::default();
        dns.names
            .lock()
            .expect("no panic")
            .insert(as_asked(name), answers);
        Arc::new(dns)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

/// The host as a URL holds it.
fn as_asked(host: &str) -> String {
    let url = url(&format!("https://{host}/"));
    url.host_str().expect("a host").to_owned()
}

/// The two rules: nothing private at all, and some private network that is not the target's.
const RULES: [&[&str]; 2] = [&[], &["10.99.0.0/16"]];

/// What sends in the service: the client for event endpoints, the reader for downloads.
struct Bench {
    metadata: Untouched,
    dns: Arc<Dns>,
    guard: GuardedClient,
    reader: GuardedReader,
}

impl Bench {
    fn new(allow_private: &[&str], dns: Arc<Dns>) -> Self {
        let guard = GuardedClient::with_lookup(rule(allow_private), &settings(), dns.clone());
        let reader = GuardedReader::with_lookup(rule(allow_private), &settings(), dns.clone());
        Self {
            metadata: Untouched::open(),
            dns,
            guard: guard.expect("CA certificates"),
            reader: reader.expect("CA certificates"),
        }
    }

    /// Sends for both purposes; both must be refused alike. The operator has put the very host on the list.
    async fn refusal(&self, text: &str) -> String {
        let parsed = url(&text.replace("{port}", &self.metadata.port().to_string()));
        let pattern = parsed.host_str().and_then(|host| host.parse().ok());
        let listed: Vec<HostPattern> = pattern.into_iter().collect();
        let as_endpoint = self.sent(&parsed, Purpose::Endpoint).await;
        let as_source = self.sent(&parsed, Purpose::Source(&listed)).await;
        // Some hosts cannot even be listed.
        if !listed.is_empty() {
            assert_eq!(as_source, as_endpoint, "{text}");
        }
        let checked = self.guard.check(&parsed, Purpose::Endpoint).await;
        assert_eq!(checked.map_err(GuardError::code), Err(&*as_endpoint), "{text}");
        let unlisted = self.sent(&parsed, Purpose::Source(&[])).await;
        assert!(
            unlisted == "forbidden_host" || unlisted == as_endpoint,
            "{text}: {unlisted}"
        );
        as_endpoint
    }

    async fn sent(&self, url: &Url, purpose: Purpose<'_>) -> String {
        match purpose {
            Purpose::Endpoint => self.posted(url).await,
            Purpose::Source(_) => self.downloaded(url, purpose).await,
        }
    }

    async fn posted(&self, url: &Url) -> String {
        let sent = match self.guard.request(Method::POST, url.clone(), Purpose::Endpoint) {
            Ok(request) => request.send().await.map(|answer| answer.status()),
            Err(refusal) => Err(refusal.into()),
        };
        match sent {
            Err(SendError::Refused(refusal)) => refusal.code().to_owned(),
            other => panic!("{url} was not refused: {other:?}"),
        }
    }

    async fn downloaded(&self, url: &Url, purpose: Purpose<'_>) -> String {
        let read = self.reader.get(url, purpose, HeaderMap::new()).await;
        match read.map(|answer| answer.status) {
            Err(ReadError::Refused(refusal)) => refusal.code().to_owned(),
            other => panic!("{url} was not refused: {other:?}"),
        }
    }
}

#[tokio::test]
async fn t9_no_spelling_of_a_forbidden_address_is_connected_to_or_asked_a_name_server_about() {
    assert!(literals().len() + NAMES.len() + URLS.len() + REBOUND.len() >= 160);
    for allow_private in RULES {
        let bench = Bench::new(allow_private, Arc::default());
        for host in literals() {
            for scheme in ["https", "http"] {
                for port in ["", ":{port}"] {
                    let text = format!("{scheme}://{host}{port}/latest/meta-data/");
                    assert_eq!(bench.refusal(&text).await, "forbidden_address", "{text}");
                }
            }
        }
        assert_eq!(
            bench.dns.asked(),
            Vec::<String>::new(),
            "an address needs no name server"
        );
        bench.metadata.assert_untouched();
    }
}

#[tokio::test]
async fn t9_no_name_leads_to_a_forbidden_address() {
    for allow_private in RULES {
        for (name, addresses) in NAMES {
            let bench = Bench::new(allow_private, Dns::answering(name, &[addresses]));
            let refused = bench.refusal(&format!("https://{name}/")).await;
            assert_eq!(refused, "forbidden_address", "{name} {addresses:?}");
            let asked = bench.dns.asked();
            assert!(
                !asked.is_empty() && asked.iter().all(|asked| *asked == as_asked(name)),
                "{name}: {asked:?}"
            );
            // With a trailing dot, over http and on another port it is no better.
            for text in [
                "https://{name}./",
                "http://{name}/",
                "http://{name}:{port}/",
                "https://{name}:{port}/",
            ] {
                bench.refusal(&text.replace("{name}", name)).await;
            }
            bench.metadata.assert_untouched();
        }
        for (name, answers) in [("empty.example", &[&[][..]][..]), ("unknown.example", &[])] {
            let bench = Bench::new(allow_private, Dns::answering(name, answers));
            assert_eq!(bench.refusal(&format!("https://{name}/")).await, "unresolvable");
        }
    }
}

#[tokio::test]
async fn t9_a_url_with_more_or_less_than_it_should_have_is_refused() {
    for (allow_private, asks) in RULES.into_iter().zip([false, true]) {
        let bench = Bench::new(allow_private, Dns::answering("public.example", &[&["8.8.8.8"]]));
        for (text, expected) in URLS {
            assert_eq!(bench.refusal(text).await, *expected, "{text}");
        }
        bench.metadata.assert_untouched();
        // Only where some network is allowed could a name's addresses make the URL right.
        assert_eq!(!bench.dns.asked().is_empty(), asks);
    }
}

#[tokio::test]
async fn t9_a_name_that_was_public_when_it_was_checked_is_judged_again_where_it_is_connected_to() {
    let listed = ["*.example".parse().expect("a pattern")];
    for (name, later) in REBOUND {
        let text = format!("https://{name}/");
        for purpose in [Purpose::Endpoint, Purpose::Source(&listed)] {
            let bench = Bench::new(&[], Dns::answering(name, &[&["8.8.8.8"], later]));
            assert_eq!(bench.guard.check(&url(&text), purpose).await, Ok(()), "{name}");
            let refused = bench.sent(&url(&text), purpose).await;
            assert_eq!(refused, "forbidden_address", "{name} {later:?}");
            assert_eq!(bench.dns.asked().len(), 2, "{name}: judged where it is used");
            bench.metadata.assert_untouched();
        }
    }
}

/// The other side: what a strict guard lets through, so that the lists above refuse for the right reason.
#[tokio::test]
async fn public_addresses_pass_for_both_purposes() {
    for (text, answer) in [
        ("https://8.8.8.8/", None),
        ("https://134744072/", None),
        ("https://[2606:4700::1111]/", None),
        ("https://[::ffff:8.8.8.8]/", None),
        ("https://[64:ff9b::8.8.8.8]/", None),
        ("https://public.example/", Some("8.8.8.8")),
        ("https://public.example:443/x?y=z", Some("2606:4700::1111")),
        ("https://bücher.example/", Some("::ffff:8.8.8.8")),
    ] {
        let parsed = url(text);
        let host = parsed.host_str().expect("a host");
        let dns = match answer {
            Some(answer) => Dns::answering(host, &[&[answer]]),
            None => Arc::default(),
        };
        let bench = Bench::new(&[], dns);
        let listed = [host.parse().expect("a pattern")];
        for purpose in [Purpose::Endpoint, Purpose::Source(&listed)] {
            assert_eq!(bench.guard.check(&parsed, purpose).await, Ok(()), "{text}");
        }
    }
}
