use std::{
    collections::{HashMap, VecDeque},
    net::TcpListener,
    sync::Mutex,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

use super::*;

mod corpus;
mod reader;

const NOWHERE: &[&str] = &[];
const LOOPBACK: &[&str] = &["127.0.0.0/8"];

fn rule(allow_private: &[&str]) -> AddressRule {
    AddressRule::new(
        allow_private
            .iter()
            .map(|net| net.parse().expect("a network"))
            .collect(),
    )
}

fn settings() -> GuardSettings {
    GuardSettings {
        user_agent: "catchment-test".into(),
        connect_timeout: Duration::from_secs(20),
        read_timeout: Duration::from_secs(20),
    }
}

/// Answers each name from its own list, one entry a lookup; the last entry for ever.
#[derive(Default)]
struct Answers(Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>);

#[async_trait]
impl Lookup for Answers {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().expect("no test panics while holding it");
        let answers = names
            .get_mut(name)
            .ok_or_else(|| io::Error::other("no such name"))?;
        let next = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        };
        Ok(next.unwrap_or_default())
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn guard(allow_private: &[&str], names: &[(&str, &[&[&str]])]) -> GuardedClient {
    let answer = |texts: &&[&str]| {
        texts
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect()
    };
    let names = names
        .iter()
        .map(|(name, answers)| ((*name).into(), answers.iter().map(answer).collect()));
    let lookup = Arc::new(Answers(Mutex::new(names.collect())));
    GuardedClient::with_lookup(rule(allow_private), &settings(), lookup).expect("CA certificates")
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

/// Sends a GET: the answer's status, or the code of the guard's refusal, or `failed`.
async fn outcome(guard: &GuardedClient, text: &str) -> String {
    let sent = match guard.request(Method::GET, url(text), Purpose::Endpoint) {
        Ok(request) => request.send().await,
        Err(refusal) => Err(refusal.into()),
    };
    match sent {
        Ok(response) => response.status().as_u16().to_string(),
        Err(SendError::Refused(refusal)) => refusal.code().into(),
        Err(SendError::Failed(_)) => "failed".into(),
    }
}

/// A listener that must be left alone.
struct Untouched(TcpListener);

impl Untouched {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        Untouched(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("a bound socket").port()
    }

    /// On loopback a connection is in the accept queue before `connect` returns, so an empty queue proves there
    /// was none.
    fn assert_untouched(&self) {
        let accepted = self
            .0
            .accept()
            .map(|(_, peer)| peer)
            .map_err(|error| error.kind());
        assert_eq!(accepted, Err(io::ErrorKind::WouldBlock));
    }
}

/// Answers one request with `answer` and returns what it was asked.
fn answering(listener: TcpListener, answer: &'static str) -> JoinHandle<String> {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.expect("a whole request"));
        }
        stream
            .write_all(answer.as_bytes())
            .await
            .expect("an open connection");
        String::from_utf8(asked).expect("text")
    })
}

#[tokio::test]
async fn loopback_sees_no_connection_by_any_spelling_or_name() {
    let target = Untouched::open();
    let port = target.port();
    let private: &[&[&str]] = &[&["127.0.0.1"]];
    let mixed: &[&[&str]] = &[&["8.8.8.8", "127.0.0.1"]];
    let mapped: &[&[&str]] = &[&["::ffff:127.0.0.1"]];
    let names = [
        ("private.example", private),
        ("mixed.example", mixed),
        ("mapped.example", mapped),
        ("localhost", private),
    ];
    let strict = guard(NOWHERE, &names);
    let elsewhere = guard(&["10.0.0.0/8"], &names);
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
        for scheme in ["http", "https"] {
            let text = format!("{scheme}://{host}:{port}/");
            assert_eq!(outcome(&strict, &text).await, "forbidden_address", "{text}");
            assert_eq!(outcome(&elsewhere, &text).await, "forbidden_address", "{text}");
        }
    }
    for host in ["private.example", "mixed.example", "mapped.example", "localhost"] {
        assert_eq!(
            outcome(&strict, &format!("http://{host}:{port}/")).await,
            "forbidden_scheme",
            "{host}"
        );
        assert_eq!(
            outcome(&strict, &format!("https://{host}:{port}/")).await,
            "forbidden_port",
            "{host}"
        );
        assert_eq!(
            outcome(&strict, &format!("https://{host}/")).await,
            "forbidden_address",
            "{host}"
        );
        assert_eq!(
            outcome(&elsewhere, &format!("http://{host}:{port}/")).await,
            "forbidden_address",
            "{host}"
        );
        assert_eq!(
            outcome(&elsewhere, &format!("https://{host}:{port}/")).await,
            "forbidden_address",
            "{host}"
        );
    }
    target.assert_untouched();
}

#[tokio::test]
async fn an_allowed_network_is_reached_by_literal_and_by_name() {
    let guard = guard(LOOPBACK, &[("receiver.example", &[&["127.0.0.1"]])]);
    for host in ["127.0.0.1", "receiver.example"] {
        let listener = Untouched::open();
        let port = listener.port();
        let answer = answering(listener.0, "HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(
            outcome(&guard, &format!("http://{host}:{port}/a?b=c")).await,
            "204"
        );
        let asked = answer.await.expect("no panic").to_lowercase();
        assert!(asked.starts_with("get /a?b=c http/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\naccept-encoding: identity\r\n"), "{asked}");
        assert!(asked.contains("\r\nuser-agent: catchment-test\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn the_connection_is_given_the_judged_addresses_and_no_port() {
    let names = [(
        "two.example".to_owned(),
        VecDeque::from([["8.8.8.8", "127.0.0.9"].map(address).to_vec()]),
    )];
    let lookup = Arc::new(Answers(Mutex::new(HashMap::from(names))));
    let resolver = JudgingResolver {
        rule: Arc::new(rule(LOOPBACK)),
        lookup,
        reach: Reach::Public,
    };
    let given = resolver
        .resolve("two.example".parse().expect("a name"))
        .await
        .expect("allowed addresses");
    let expected = ["8.8.8.8", "127.0.0.9"].map(|text| SocketAddr::new(address(text), 0));
    assert_eq!(given.collect::<Vec<_>>(), expected);
}

/// The environment belongs to the process, so the test before runs again in one of its own.
#[test]
fn a_proxy_in_the_environment_is_ignored() {
    let proxy = Untouched::open();
    let address = format!("http://127.0.0.1:{}", proxy.port());
    let module = module_path!().split_once("::").expect("a module of the crate").1;
    let mut again = std::process::Command::new(std::env::current_exe().expect("a test binary"));
    again.args([
        "--exact",
        &format!("{module}::an_allowed_network_is_reached_by_literal_and_by_name"),
    ]);
    again.envs(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|name| (name, &address)));
    let output = again.output().expect("a second run");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    proxy.assert_untouched();
}

#[tokio::test]
async fn a_name_that_turns_private_after_the_check_is_still_refused() {
    let target = Untouched::open();
    let turning: &[&[&str]] = &[&["8.8.8.8"], &["127.0.0.1"]];
    let strict = guard(NOWHERE, &[("turning.example", turning)]);
    assert_eq!(
        strict
            .check(&url("https://turning.example/"), Purpose::Endpoint)
            .await,
        Ok(())
    );
    assert_eq!(
        outcome(&strict, "https://turning.example/").await,
        "forbidden_address"
    );

    // The other way round: allowed at the check, forbidden (or merely public) when it counts.
    let port = target.port();
    for (later, expected) in [
        ("127.0.0.1", "forbidden_address"),
        ("8.8.8.8", "forbidden_scheme"),
    ] {
        let allowed_first = guard(
            &["10.0.0.0/8"],
            &[("turning.example", &[&["10.0.0.1"], &[later]])],
        );
        let text = format!("http://turning.example:{port}/");
        assert_eq!(allowed_first.check(&url(&text), Purpose::Endpoint).await, Ok(()));
        assert_eq!(outcome(&allowed_first, &text).await, expected);
    }
    target.assert_untouched();
}

#[tokio::test]
async fn the_check_says_what_the_request_would() {
    let names: &[(&str, &[&[&str]])] = &[
        ("public.example", &[&["8.8.8.8"]]),
        ("inside.example", &[&["10.0.0.1"]]),
        ("mixed.example", &[&["8.8.8.8", "192.168.0.1"]]),
        ("empty.example", &[&[]]),
    ];
    let guard = guard(&["127.0.0.0/8"], names);
    for (text, expected) in [
        ("https://public.example/", Ok(())),
        ("http://public.example/", Err("forbidden_scheme")),
        ("https://public.example:8443/", Err("forbidden_port")),
        ("https://inside.example/", Err("forbidden_address")),
        ("http://inside.example/", Err("forbidden_address")),
        ("https://mixed.example/", Err("forbidden_address")),
        ("https://empty.example/", Err("unresolvable")),
        ("https://unknown.example/", Err("unresolvable")),
        ("https://127.0.0.1/", Ok(())),
        ("https://[::1]/", Err("forbidden_address")),
    ] {
        let checked = guard
            .check(&url(text), Purpose::Endpoint)
            .await
            .map_err(GuardError::code);
        assert_eq!(checked, expected, "{text}");
        if let Err(code) = expected {
            assert_eq!(outcome(&guard, text).await, code, "{text}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_not_an_order() {
    let secret = Untouched::open();
    let listener = Untouched::open();
    let port = listener.port();
    let location = format!("http://127.0.0.1:{}/", secret.port());
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let answer = answering(listener.0, answer.leak());
    assert_eq!(
        outcome(&guard(LOOPBACK, &[]), &format!("http://127.0.0.1:{port}/")).await,
        "302"
    );
    answer.await.expect("no panic");
    secret.assert_untouched();
}

#[tokio::test]
async fn a_failure_tells_neither_path_nor_query() {
    // Bound but not listening: nobody else can get the port meanwhile.
    let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    closed
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .expect("a free port");
    let port = closed
        .local_addr()
        .expect("a bound socket")
        .as_socket()
        .expect("an IP socket")
        .port();
    let text = format!("http://127.0.0.1:{port}/secret-path?sig=s3cret");
    let request = guard(LOOPBACK, &[]).request(Method::GET, url(&text), Purpose::Endpoint);
    let request = request.expect("an allowed address");
    let Err(error @ SendError::Failed(_)) = request.send().await else {
        panic!("nobody listens there")
    };
    let told = format!("{error} {error:?}");
    assert!(
        !told.contains("s3cret") && !told.contains("secret-path"),
        "{told}"
    );
}

#[tokio::test]
async fn the_machines_own_names_are_judged_too() {
    let guard = GuardedClient::new(rule(NOWHERE), &settings()).expect("CA certificates");
    let loopback = guard.check(&url("https://localhost/"), Purpose::Endpoint).await;
    assert!(
        matches!(loopback, Err(GuardError::ForbiddenAddress(address)) if address.is_loopback()),
        "{loopback:?}"
    );
    let unknown = guard
        .check(&url("https://no-such-name.invalid/"), Purpose::Endpoint)
        .await;
    assert_eq!(unknown, Err(GuardError::Unresolvable));
}

#[tokio::test]
async fn a_source_must_be_on_the_list() {
    let guard = guard(LOOPBACK, &[("vm.runware.ai", &[&["127.0.0.1"]])]);
    let list = ["*.runware.ai".parse().expect("a pattern")];
    let refusal = |text: &str| {
        guard
            .request(Method::GET, url(text), Purpose::Source(&list))
            .err()
    };
    assert_eq!(refusal("https://vm.runware.ai/x.mp4"), None);
    assert_eq!(
        refusal("https://runware.ai/x.mp4"),
        Some(GuardError::ForbiddenHost)
    );
    assert_eq!(
        refusal("http://127.0.0.1:9/x.mp4"),
        Some(GuardError::ForbiddenHost)
    );
}
