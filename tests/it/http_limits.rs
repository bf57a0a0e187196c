//! T2, T3: one caller's haste, and a thousand callers' slowness, are nobody else's trouble.

use crate::harness::{Answer, Service, Setup, answer, avatar, key_limits, manual, rate, raw};
use catchment::http::KeyLimits;
use catchment::http::server::Deadlines;
use reqwest::Method;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

#[actix_web::test]
async fn t2_a_hasty_key_is_told_when_to_come_back_and_no_other_key_pays() {
    let clock = manual();
    let service = Service::with(Setup {
        clock: clock.clone(),
        key_limits: KeyLimits {
            rate: rate(2, 3),
            ..key_limits()
        },
        ..Setup::default()
    })
    .await;
    let other = service.key_of("other").await;
    let told = |answer: &Answer| answer.header("ratelimit").map(str::to_owned);
    for left in ["r=2;t=1", "r=1;t=1", "r=0;t=2"] {
        let answer = service.get("/v1/tasks").await;
        assert_eq!(answer.status, 200);
        assert_eq!(told(&answer), Some(format!("\"key\";{left}")));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"key\";q=3;w=2"));
    }
    let refused = service.post("/v1/tasks", &avatar()).await;
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.body["retryable"], true);
    assert_eq!(told(&refused).as_deref(), Some("\"key\";r=0;t=2"));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();

    let neighbour = answer(service.request_by(&other, Method::GET, "/v1/tasks")).await;
    assert_eq!(neighbour.status, 200, "another key has its own rate");
    let callback = service.callback_path("0c0ffee0-0000-4000-8000-000000000001");
    let provider = answer(service.anonymous(Method::POST, &callback).body("{}")).await;
    assert!(provider.status.is_success(), "callbacks are not a key's requests");
    assert_eq!(told(&provider), None);

    clock.advance(Duration::from_secs(wait));
    assert_eq!(service.post("/v1/tasks", &avatar()).await.status, 202);
}

/// A connection that takes almost nothing of what it is sent.
pub async fn deaf(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    TcpStream::from_std(socket.into()).unwrap()
}

/// Connections that the server holds, as the kernel counts them.
pub fn held(server: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let local = format!(":{:04X}", server.port());
    let is_held = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        let (at, state) = (columns.next(), columns.nth(1));
        at.is_some_and(|at| at.ends_with(&local)) && state == Some("01")
    };
    table.lines().filter(is_held).count()
}

pub async fn until_held(server: SocketAddr, at_most: usize) {
    for _ in 0..3_000 {
        if held(server) <= at_most {
            return;
        }
        pause().await;
    }
    panic!("{} connections are still held", held(server));
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kernel's deadlines run on the machine's clock"
)]
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// 1,000 of them: heads that never end, bodies that never end, answers that nobody reads, and silence.
async fn a_thousand_slow_ones(service: &Service) -> Vec<TcpStream> {
    let (at, key) = (service.addr(), &service.key);
    let auth = format!("host: x\r\nauthorization: Bearer {key}\r\n");
    let head = format!("GET /v1/tasks HTTP/1.1\r\n{auth}x-slow: ");
    let body = format!(
        "POST /v1/tasks HTTP/1.1\r\n{auth}content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    let callback = service.callback_path("0c0ffee0-0000-4000-8000-000000000001");
    let callback = format!("POST {callback} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{{");
    let large = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(40);
    let mut slow = vec![];
    for n in 0..1_000 {
        let (mut stream, bytes) = match n % 5 {
            0 => (raw::open(at, b"").await, head.as_str()),
            // Below the key's places in work, so that they wait instead of being refused.
            1 if n < 150 => (raw::open(at, b"").await, body.as_str()),
            1 | 2 => (raw::open(at, b"").await, callback.as_str()),
            3 => (deaf(at).await, large.as_str()),
            _ => (raw::open(at, b"").await, ""),
        };
        stream.write_all(bytes.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    slow
}

#[actix_web::test]
async fn t3_a_thousand_slow_clients_neither_hurt_a_good_one_nor_stay() {
    let clock = manual();
    let service = Service::with(Setup {
        clock: clock.clone(),
        max_connections: 2_048,
        deadlines: Deadlines {
            head: Duration::from_secs(2),
            write_stalls: Duration::from_secs(2),
        },
        ..Setup::default()
    })
    .await;
    let slow = a_thousand_slow_ones(&service).await;
    for n in 0..100 {
        let id = service.submit(&avatar()).await;
        let callback = service.callback_path(&id);
        let told = answer(service.anonymous(Method::POST, &callback).body(format!("[{n}]"))).await;
        assert!(told.status.is_success(), "{told:?}");
    }
    // Bodies have their deadline by the service's clock, heads and deaf readers by the kernel's and the server's.
    // Only the good client's own may be left: who is silent from the start owes a head, too. A body that is begun
    // late has its deadline late: the clock goes on.
    let gone = until_held(service.addr(), 2);
    tokio::pin!(gone);
    loop {
        clock.advance(Duration::from_secs(31));
        tokio::select! {
            () = &mut gone => break,
            () = pause() => {}
        }
    }
    drop(slow);
    assert_eq!(service.get("/v1/tasks").await.status, 200);
}

/// Nothing comes for a while. Never true by chance: what is held back stays so until somebody else goes.
async fn is_silent(stream: &TcpStream) -> bool {
    for _ in 0..50 {
        let mut byte = [0];
        if stream.try_read(&mut byte).is_ok() {
            return false;
        }
        pause().await;
    }
    true
}

#[actix_web::test]
async fn f7_beyond_the_cap_accepting_pauses_and_resumes() {
    let service = Service::with(Setup {
        max_connections: 16,
        ..Setup::default()
    })
    .await;
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let opened = async || raw::open(service.addr(), request).await;
    let served = async |stream: &mut TcpStream| {
        assert!(raw::head(stream).await.starts_with("HTTP/1.1 200"));
    };
    // Kept open after their answers: the next are served as soon as one of these makes room, and not before.
    let mut within = vec![];
    for _ in 0..16 {
        let mut stream = opened().await;
        served(&mut stream).await;
        within.push(stream);
    }
    let mut beyond = vec![opened().await];
    assert!(is_silent(&beyond[0]).await, "a 17th is not served beside 16");
    within.pop();
    served(&mut beyond[0]).await;

    for _ in 0..47 {
        beyond.push(opened().await);
    }
    drop(within);
    drop(beyond.remove(0));
    for mut stream in beyond {
        served(&mut stream).await; // none is turned away
    }
    assert_eq!(service.get("/v1/tasks").await.status, 200);
}

#[actix_web::test]
async fn t2_a_key_has_so_many_requests_in_work_and_other_keys_theirs() {
    let service = Service::with(Setup {
        key_limits: KeyLimits {
            concurrent_requests: 2,
            ..key_limits()
        },
        ..Setup::default()
    })
    .await;
    let other = service.key_of("other").await;
    let body = avatar().to_string();
    let (begun, rest) = body.split_at(1);
    let head = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{begun}",
        service.key,
        body.len()
    );
    let mut slow = vec![];
    for _ in 0..2 {
        slow.push(raw::open(service.addr(), head.as_bytes()).await);
    }
    // Sooner or later both bodies are in work, for as long as we hold them back. Should one of them have come while
    // we asked, then it was the third, and comes again.
    let mut refused = service.get("/v1/tasks").await;
    for _ in 0..300 {
        if refused.status == 429 {
            break;
        }
        for stream in &mut slow {
            if stream.try_read(&mut [0]).is_ok() {
                *stream = raw::open(service.addr(), head.as_bytes()).await;
            }
        }
        pause().await;
        refused = service.get("/v1/tasks").await;
    }
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.body["retryable"], true);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 0);
    let neighbour = answer(service.request_by(&other, Method::GET, "/v1/tasks")).await;
    assert_eq!(neighbour.status, 200, "another key has its own places");

    for mut stream in slow {
        stream.write_all(rest.as_bytes()).await.unwrap();
        assert!(raw::head(&mut stream).await.starts_with("HTTP/1.1 202"));
    }
    assert_eq!(service.get("/v1/tasks").await.status, 200, "both places are free");
}
