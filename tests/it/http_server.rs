//! Listeners: split, refused, and stopped in order.

use crate::harness::{PATIENCE, Service, Setup, answer, avatar, key_limits, loopback, raw};
use catchment::http::KeyLimits;
use futures_util::future::join_all;
use reqwest::{Client, Method};
use std::net::TcpListener;
use tokio::net::TcpStream;

#[actix_web::test]
async fn parts_are_served_where_they_belong() {
    let service = Service::with(Setup {
        callback: Some(loopback()),
        admin: Some(loopback()),
        ..Setup::default()
    })
    .await;
    let id = service.submit(&avatar()).await;
    let running = service.running();
    let callback = service.callback_path(&id);
    let status = async |method: Method, at, path: &str| {
        let url = format!("http://{at}{path}");
        answer(Client::new().request(method, url).bearer_auth(&service.key))
            .await
            .status
            .as_u16()
    };
    let table = [
        (Method::GET, "/v1/tasks", [200, 404, 404]),
        (Method::GET, "/openapi.json", [200, 404, 404]),
        (Method::POST, callback.as_str(), [404, 200, 404]),
        (Method::GET, "/readyz", [404, 404, 200]),
        (Method::GET, "/metrics", [404, 404, 200]),
    ];
    for (method, path, expected) in table {
        for (at, expected) in [running.listen, running.callback, running.admin]
            .into_iter()
            .zip(expected)
        {
            assert_eq!(status(method.clone(), at, path).await, expected, "{path} at {at}");
        }
    }
}

#[actix_web::test]
async fn an_address_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind(loopback()).unwrap();
    let address = taken.local_addr().unwrap();
    let told = std::panic::AssertUnwindSafe(Service::with(Setup {
        admin: Some(address),
        ..Setup::default()
    }));
    let told = futures_util::FutureExt::catch_unwind(told)
        .await
        .err()
        .expect("it must not start");
    let told = told.downcast_ref::<String>().unwrap();
    assert!(
        told.contains("server.admin_listen") && told.contains(&address.to_string()),
        "{told}"
    );
}

/// A long poll that has its place: others are refused. One that came while a probe of ours held the place was refused
/// itself, and is sent again.
async fn waiting_poll(service: &Service, poll: &str) -> TcpStream {
    for _ in 0..100 {
        let waiting = raw::open(service.addr(), poll.as_bytes()).await;
        for _ in 0..20 {
            if service.get("/v1/events?wait=1ms").await.status == 429 {
                return waiting;
            }
        }
    }
    panic!("no long poll ever got its place");
}

#[actix_web::test]
async fn g11_a_stop_ends_idle_connections_and_long_polls_with_an_answer() {
    // One place to wait: a second long poll is refused as soon as the first one waits.
    let key_limits = KeyLimits {
        event_streams: 1,
        ..key_limits()
    };
    let mut service = Service::with(Setup {
        key_limits,
        ..Setup::default()
    })
    .await;
    let mut idle = raw::open(service.addr(), b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(raw::head(&mut idle).await.starts_with("HTTP/1.1 200"));
    let poll = format!(
        "GET /v1/events?after=100&wait=60s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        service.key
    );
    let mut waiting = waiting_poll(&service, &poll).await;
    tokio::time::timeout(PATIENCE, service.stop())
        .await
        .expect("nothing to wait for");
    let told = raw::rest(&mut waiting).await;
    assert!(
        told.starts_with("HTTP/1.1 200") && told.contains("\"data\":[]"),
        "{told}"
    );
    raw::rest(&mut idle).await;
    assert_eq!(service.health.not_ready(), Some("draining"));
}

#[actix_web::test]
async fn t3_a_body_that_nobody_reads_holds_no_connection() {
    let service = Service::start().await;
    let refused = ["/nope", "/v1/tasks", "/cb/v1/x"].map(async |target| {
        let head = format!("POST {target} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
        raw::exchange(service.addr(), format!("{head}5\r\nhello\r\n").as_bytes()).await
    });
    for answer in join_all(refused).await {
        assert!(
            answer.starts_with("HTTP/1.1 40") && answer.contains("connection: close"),
            "{answer}"
        );
    }
}

#[actix_web::test]
async fn a_body_that_was_read_costs_no_connection() {
    let service = Service::start().await;
    let path = service.callback_path(&service.submit(&avatar()).await);
    let post = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}");
    let chunked = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    );
    let mut stream = raw::open(service.addr(), b"").await;
    for request in [&post, &chunked, &post] {
        let answer = raw::next(&mut stream, request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"),
            "{answer}"
        );
    }
}
