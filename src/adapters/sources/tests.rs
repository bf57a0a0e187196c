//! Against a server that says exactly what a test tells it to.

use super::*;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const FILM: &[u8] = b"0123456789abcdefghij";

/// Answers each request with what `script` makes of its head, and then keeps the connection open or closes it.
struct Server {
    url: SourceUrl,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy)]
enum Then {
    Close,
    Silence,
    /// A byte now and then, for ever.
    Trickle,
}

impl Server {
    async fn start(script: impl Fn(&str) -> (String, Then) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/film.mp4?sig=secret", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        let task = tokio::spawn(async move {
            let mut silent = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = read_head(&mut stream).await;
                let (answer, then) = script(&head);
                seen.lock().unwrap().push(head);
                stream.write_all(answer.as_bytes()).await.unwrap();
                match then {
                    Then::Close => {}
                    Then::Silence => silent.push(stream),
                    Then::Trickle => trickle(stream).await,
                }
            }
        });
        let url = SourceUrl(url);
        Self { url, heads, task }
    }

    async fn saying(answer: impl Into<String>, then: Then) -> Self {
        let answer = answer.into();
        Self::start(move |_| (answer.clone(), then)).await
    }

    fn last_head(&self) -> String {
        self.heads.lock().unwrap().last().unwrap().to_ascii_lowercase()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn trickle(mut stream: TcpStream) {
    while stream.write_all(b"x").await.is_ok() {
        pause(Duration::from_millis(5)).await;
    }
}

async fn pause(length: Duration) {
    let _ = tokio::time::timeout(length, std::future::pending::<()>()).await;
}

/// Long enough that only the bound under test can end a wait.
const AGES: Duration = Duration::from_secs(600);

fn sources_with(patience: Patience) -> HttpSources {
    let options = SourceOptions {
        user_agent: "catchment-test".to_owned(),
        allowed_hosts: vec!["127.0.0.1".parse().unwrap()],
        patience,
    };
    let rule = AddressRule::new(vec!["127.0.0.0/8".parse().unwrap()]);
    HttpSources::new(rule, options).unwrap()
}

fn sources() -> HttpSources {
    sources_with(Patience::default())
}

fn impatient(change: impl FnOnce(&mut Patience)) -> HttpSources {
    let mut patience = Patience {
        connect: AGES,
        head: AGES,
        idle: AGES,
        floor_window: AGES,
        floor_bytes: 0,
    };
    change(&mut patience);
    sources_with(patience)
}

fn answer(status: &str, headers: &str, body: &[u8]) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}\r\n{}",
        std::str::from_utf8(body).unwrap()
    )
}

fn film() -> String {
    let headers = "Content-Length: 20\r\nETag: \"v1\"\r\nContent-Type: video/mp4\r\n";
    answer("200 OK", headers, FILM)
}

fn rest_of_film(range: &str, etag: &str) -> String {
    let headers = format!("Content-Length: 13\r\nContent-Range: {range}\r\nETag: {etag}\r\n");
    answer("206 Partial Content", &headers, &FILM[7..])
}

fn resume() -> Resume {
    Resume {
        from: 7,
        total: Some(20),
        etag: Some("\"v1\"".to_owned()),
    }
}

async fn read(mut body: Box<dyn SourceBody>) -> Result<Vec<u8>, SourceError> {
    let mut all = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        assert!(!chunk.is_empty());
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

async fn failure(server: &Server, resume: Option<&Resume>) -> SourceError {
    match sources().open(&server.url, resume).await {
        Ok(opened) => panic!("opened at {}", opened.start),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_file_is_read_whole_with_what_its_server_says_of_it() {
    let server = Server::saying(film(), Then::Close).await;

    let opened = sources().open(&server.url, None).await.unwrap();

    assert_eq!((opened.start, opened.total), (0, Some(20)));
    assert_eq!(opened.etag.as_deref(), Some("\"v1\""));
    assert_eq!(opened.content_type.as_deref(), Some("video/mp4"));
    assert_eq!(read(opened.body).await.unwrap(), FILM);
    let head = server.last_head();
    assert!(head.starts_with("get /film.mp4?sig=secret http/1.1"), "{head}");
    assert!(head.contains("accept-encoding: identity"), "{head}");
    assert!(!head.contains("range:"), "{head}");
}

#[tokio::test]
async fn a_source_need_not_name_its_length_or_a_strong_tag() {
    let body = b"7\r\n0123456\r\nd\r\n789abcdefghij\r\n0\r\n\r\n";
    let headers = "Transfer-Encoding: chunked\r\nETag: W/\"v1\"\r\n";
    let server = Server::saying(answer("200 OK", headers, body), Then::Close).await;

    let opened = sources().open(&server.url, None).await.unwrap();

    assert_eq!((opened.total, opened.etag), (None, None));
    assert_eq!(read(opened.body).await.unwrap(), FILM);
}

#[tokio::test]
async fn a_granted_range_goes_on_where_it_broke() {
    let server = Server::saying(rest_of_film("bytes 7-19/20", "\"v1\""), Then::Close).await;

    let opened = sources().open(&server.url, Some(&resume())).await.unwrap();

    assert_eq!((opened.start, opened.total), (7, Some(20)));
    assert_eq!(read(opened.body).await.unwrap(), &FILM[7..]);
    let head = server.last_head();
    assert!(
        head.contains("range: bytes=7-\r\n") && head.contains("if-range: \"v1\"\r\n"),
        "{head}"
    );
}

/// What follows the end of a body that named neither length nor tag.
#[tokio::test]
async fn what_follows_is_asked_for_without_knowing_the_whole() {
    let end = Resume {
        total: None,
        etag: None,
        ..resume()
    };
    let server = Server::saying(rest_of_film("bytes 7-19/20", "\"v1\""), Then::Close).await;
    let opened = sources().open(&server.url, Some(&end)).await.unwrap();
    assert_eq!((opened.start, opened.total, opened.etag), (7, Some(20), None));
    let head = server.last_head();
    assert!(head.contains("range: bytes=7-\r\n"), "{head}");
    assert!(!head.contains("if-range"), "{head}");

    for range in ["bytes 7-18/20", "bytes 8-19/20", "bytes 7-19/*", "bytes 7-19"] {
        let server = Server::saying(rest_of_film(range, "\"v1\""), Then::Close).await;
        let error = failure(&server, Some(&end)).await;
        assert!(
            matches!(error, SourceError::Odd { status: 206 }),
            "{range}: {error:?}"
        );
    }
}

/// F13: whoever ignores the range, or has another entity by now, sends it from the start.
#[tokio::test]
async fn a_refused_range_starts_again() {
    let changed = film().replace("v1", "v2");
    for (answer, etag) in [(film(), "\"v1\""), (changed, "\"v2\"")] {
        let server = Server::saying(answer, Then::Close).await;
        let opened = sources().open(&server.url, Some(&resume())).await.unwrap();
        assert_eq!((opened.start, opened.etag.as_deref()), (0, Some(etag)));
        assert_eq!(read(opened.body).await.unwrap(), FILM);
    }
}

/// F13: never glue together what may not belong together.
#[tokio::test]
async fn a_range_that_is_not_the_one_asked_for_is_odd() {
    let cases = [
        rest_of_film("bytes 7-19/20", "\"v2\""),
        rest_of_film("bytes 7-19/20", "W/\"v1\""),
        rest_of_film("bytes 7-19/21", "\"v1\""),
        rest_of_film("bytes 7-19/*", "\"v1\""),
        rest_of_film("bytes 8-19/20", "\"v1\""),
        rest_of_film("bytes 7-18/20", "\"v1\""),
        rest_of_film("bytes 7-19/20", "\"v1\"\r\nContent-Encoding: gzip"),
    ];
    for case in cases {
        let server = Server::saying(case.clone(), Then::Close).await;
        let error = failure(&server, Some(&resume())).await;
        assert!(
            matches!(error, SourceError::Odd { status: 206 }),
            "{case}: {error:?}"
        );
    }
    let unasked = Server::saying(rest_of_film("bytes 7-19/20", "\"v1\""), Then::Close).await;
    assert!(matches!(
        failure(&unasked, None).await,
        SourceError::Odd { status: 206 }
    ));
}

#[tokio::test]
async fn each_status_means_what_the_next_step_needs() {
    let cases = [
        ("403 Forbidden", "dead 403"),
        ("404 Not Found", "dead 404"),
        ("410 Gone", "dead 410"),
        ("408 Request Timeout", "unavailable http_408"),
        ("429 Too Many Requests", "unavailable http_429"),
        ("500 Internal Server Error", "unavailable http_500"),
        ("503 Service Unavailable", "unavailable http_503"),
        ("204 No Content", "odd 204"),
        ("302 Found", "odd 302"),
        ("304 Not Modified", "odd 304"),
        ("401 Unauthorized", "odd 401"),
        ("416 Range Not Satisfiable", "odd 416"),
    ];
    for (status, expected) in cases {
        let headers = "Content-Length: 0\r\nLocation: http://127.0.0.1:1/elsewhere\r\n";
        let server = Server::saying(answer(status, headers, b""), Then::Close).await;
        let got = match failure(&server, None).await {
            SourceError::Dead { status } => format!("dead {status}"),
            SourceError::Unavailable {
                code,
                retry_after: None,
            } => format!("unavailable {code}"),
            SourceError::Odd { status } => format!("odd {status}"),
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn a_source_may_say_when_to_come_back() {
    let date = "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n";
    let cases = [
        ("Retry-After: 120\r\n".to_owned(), Some(120)),
        (
            format!("{date}Retry-After: Tue, 15 Nov 1994 08:13:01 GMT\r\n"),
            Some(30),
        ),
        (
            format!("{date}Retry-After: Tue, 15 Nov 1994 08:00:00 GMT\r\n"),
            Some(0),
        ),
        ("Retry-After: 99999999999\r\n".to_owned(), Some(3600)),
        ("Retry-After: soon\r\n".to_owned(), None),
        (
            "Retry-After: Tue, 15 Nov 1994 08:13:01 GMT\r\n".to_owned(),
            Some(0),
        ),
    ];
    for (headers, expected) in cases {
        let headers = format!("{headers}Content-Length: 0\r\n");
        let server = Server::saying(answer("503 Busy", &headers, b""), Then::Close).await;
        match failure(&server, None).await {
            SourceError::Unavailable { retry_after, .. } => {
                assert_eq!(retry_after, expected.map(Duration::from_secs), "{headers}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// T10.
#[tokio::test]
async fn a_compressed_answer_is_no_file() {
    for (coding, is_file) in [("gzip", false), ("identity, br", false), ("identity", true)] {
        let headers = format!("Content-Length: 20\r\nContent-Encoding: {coding}\r\n");
        let server = Server::saying(answer("200 OK", &headers, FILM), Then::Close).await;
        let opened = sources().open(&server.url, None).await;
        assert_eq!(opened.is_ok(), is_file, "{coding}");
        assert!(is_file || matches!(opened.err(), Some(SourceError::Odd { status: 200 })));
    }
}

/// F13: fewer bytes than promised are a break, never an end.
#[tokio::test]
async fn a_truncated_body_is_broken() {
    let long = film().replace("Content-Length: 20", "Content-Length: 21");
    let server = Server::saying(long, Then::Close).await;
    let mut body = sources().open(&server.url, None).await.unwrap().body;
    assert_eq!(body.chunk().await.unwrap().unwrap(), FILM);
    assert!(matches!(body.chunk().await, Err(SourceError::Broken(_))));
}

#[tokio::test]
async fn silence_is_waited_for_only_so_long() {
    let soon = Duration::from_millis(50);

    let mute = Server::saying("", Then::Silence).await;
    let opened = impatient(|p| p.head = soon).open(&mute.url, None).await;
    assert!(matches!(opened.err(), Some(SourceError::Unavailable { code, .. }) if code == "timeout"));

    let long = film().replace("Content-Length: 20", "Content-Length: 21");
    let stops = Server::saying(long, Then::Silence).await;
    let opened = impatient(|p| p.idle = soon).open(&stops.url, None).await.unwrap();
    let error = read(opened.body).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Broken(why) if why.to_string().contains("silent")),
        "{error:?}"
    );
}

/// T10: never silent, never done.
#[tokio::test]
async fn a_trickle_is_broken_off() {
    let endless = film().replace("Content-Length: 20", "Content-Length: 1000000");
    let server = Server::saying(endless, Then::Trickle).await;
    let floor = |p: &mut Patience| (p.floor_window, p.floor_bytes) = (Duration::from_millis(50), 1000);
    let opened = impatient(floor).open(&server.url, None).await.unwrap();
    let error = read(opened.body).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Broken(why) if why.to_string().contains("slow")),
        "{error:?}"
    );
}

#[test]
fn the_floor_counts_only_time_spent_waiting() {
    let patience = Patience::default();
    let (half, floor) = (patience.floor_window / 2, patience.floor_bytes);
    let mut pace = Pace::new(patience);
    assert!(pace.keeps_up(half, floor / 2));
    assert!(pace.keeps_up(half, floor / 2), "just enough");
    assert!(pace.keeps_up(half, floor * 10), "much, in half a window");
    assert!(pace.keeps_up(half, 0));
    assert!(
        pace.keeps_up(half, floor / 2),
        "a new window owes nothing to the one before"
    );
    assert!(!pace.keeps_up(half, floor / 2 - 1));
    assert!(
        pace.keeps_up(Duration::ZERO, 0),
        "nobody waited: the store was slow, not the source"
    );
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = SourceUrl(format!("http://{}/x.mp4", free.local_addr().unwrap()));
    drop(free);
    let opened = sources().open(&url, None).await;
    assert!(matches!(opened.err(), Some(SourceError::Unavailable { code, .. }) if code == "connect"));

    let hangs_up = Server::saying("", Then::Close).await;
    let error = failure(&hangs_up, None).await;
    assert!(
        matches!(&error, SourceError::Unavailable { code, .. } if code == "reset"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_named_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = SourceUrl(format!("https://{}/x.mp4", listener.local_addr().unwrap()));
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let mut greeting = [0; 1024];
        while stream.read(&mut greeting).await.is_ok_and(|n| n > 0) {}
    });
    let opened = sources().open(&url, None).await;
    let error = opened.err().unwrap();
    assert!(
        matches!(&error, SourceError::Unavailable { code, .. } if code == "tls"),
        "{error:?}"
    );
    plain.abort();
}

/// T9, G12.
#[tokio::test]
async fn the_guard_decides_and_no_error_tells_the_link() {
    for (url, code) in [
        ("http://10.0.0.1/x?sig=secret", "forbidden_host"),
        ("https://example.com/x?sig=secret", "forbidden_host"),
        ("ftp://127.0.0.1/x?sig=secret", "forbidden_scheme"),
        ("http://user@127.0.0.1/x?sig=secret", "has_userinfo"),
        ("not a link, secret", "invalid_url"),
    ] {
        let error = sources()
            .open(&SourceUrl(url.to_owned()), None)
            .await
            .err()
            .unwrap();
        assert!(
            matches!(&error, SourceError::Forbidden { code: c } if *c == code),
            "{url}: {error:?}"
        );
        assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
    }
    let long = film().replace("Content-Length: 20", "Content-Length: 21");
    let server = Server::saying(long, Then::Close).await;
    let error = read(sources().open(&server.url, None).await.unwrap().body)
        .await
        .unwrap_err();
    let SourceError::Broken(cause) = &error else {
        panic!("{error:?}")
    };
    assert!(!format!("{error:?} {error} {cause:?} {cause}").contains("secret"));
}
