//! T9 and I15 again, for the client that reads media; and how much it holds.

use super::*;

fn reader(allow_private: &[&str], names: &[(&str, &[&[&str]])]) -> GuardedReader {
    let guard = guard(allow_private, names);
    GuardedReader::with_lookup(rule(allow_private), &settings(), guard.lookup).expect("CA certificates")
}

/// Sends a GET: the answer's status, or the code of the guard's refusal, or `failed`.
async fn read(reader: &GuardedReader, text: &str) -> String {
    match reader.get(&url(text), Purpose::Endpoint, HeaderMap::new()).await {
        Ok(answer) => answer.status.as_u16().to_string(),
        Err(ReadError::Refused(refusal)) => refusal.code().into(),
        Err(_) => "failed".into(),
    }
}

#[tokio::test]
async fn t9_a_reader_connects_to_no_loopback_by_any_spelling_or_name() {
    let target = Untouched::open();
    let port = target.port();
    let private: &[&[&str]] = &[&["127.0.0.1"]];
    let names = [
        ("private.example", private),
        ("mixed.example", &[&["8.8.8.8", "127.0.0.1"]]),
        ("mapped.example", &[&["::ffff:127.0.0.1"]]),
        ("localhost", private),
    ];
    let strict = reader(NOWHERE, &names);
    let elsewhere = reader(&["10.0.0.0/8"], &names);
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
        for scheme in ["http", "https"] {
            let text = format!("{scheme}://{host}:{port}/");
            assert_eq!(read(&strict, &text).await, "forbidden_address", "{text}");
            assert_eq!(read(&elsewhere, &text).await, "forbidden_address", "{text}");
        }
    }
    for (host, _) in names {
        let (http, odd, https) = (
            format!("http://{host}:{port}/"),
            format!("https://{host}:{port}/"),
            format!("https://{host}/"),
        );
        assert_eq!(read(&strict, &http).await, "forbidden_scheme", "{http}");
        assert_eq!(read(&strict, &odd).await, "forbidden_port", "{odd}");
        assert_eq!(read(&strict, &https).await, "forbidden_address", "{https}");
        for text in [http, odd] {
            assert_eq!(read(&elsewhere, &text).await, "forbidden_address", "{text}");
        }
    }
    target.assert_untouched();
}

#[tokio::test]
async fn t9_a_name_that_turns_private_is_refused_where_it_is_looked_up() {
    let target = Untouched::open();
    let port = target.port();
    for (later, expected) in [
        ("127.0.0.1", "forbidden_address"),
        ("8.8.8.8", "forbidden_scheme"),
    ] {
        let names: &[(&str, &[&[&str]])] = &[("turning.example", &[&["10.0.0.1"], &[later]])];
        let text = format!("http://turning.example:{port}/");
        let guard = guard(&["10.0.0.0/8"], names);
        assert_eq!(guard.check(&url(&text), Purpose::Endpoint).await, Ok(()));
        let reader = GuardedReader::with_lookup(rule(&["10.0.0.0/8"]), &settings(), guard.lookup);
        assert_eq!(read(&reader.expect("CA certificates"), &text).await, expected);
    }
    let unknown = reader(NOWHERE, &[("empty.example", &[&[]])]);
    for text in ["https://unknown.example/", "https://empty.example/"] {
        assert_eq!(read(&unknown, text).await, "unresolvable", "{text}");
    }
    target.assert_untouched();
}

#[tokio::test]
async fn a_reader_asks_for_the_file_by_literal_and_by_name_and_follows_nothing() {
    let reader = reader(LOOPBACK, &[("media.example", &[&["127.0.0.1"]])]);
    let secret = Untouched::open();
    for host in ["127.0.0.1", "media.example"] {
        let listener = Untouched::open();
        let port = listener.port();
        let location = format!("http://127.0.0.1:{}/", secret.port());
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let answer = answering(listener.0, answer.leak());
        assert_eq!(read(&reader, &format!("http://{host}:{port}/a?b=c")).await, "302");
        let asked = answer.await.expect("no panic").to_lowercase();
        assert!(asked.starts_with("get /a?b=c http/1.1\r\n"), "{asked}");
        for header in [
            &format!("host: {host}:{port}"),
            "accept-encoding: identity",
            "user-agent: catchment-test",
        ] {
            assert!(asked.contains(&format!("\r\n{header}\r\n")), "{asked}");
        }
    }
    secret.assert_untouched();
}

#[tokio::test]
async fn t9_a_readers_source_must_be_on_the_list() {
    let reader = reader(LOOPBACK, &[]);
    let list = ["*.runware.ai".parse().expect("a pattern")];
    for text in ["https://runware.ai/x.mp4", "http://127.0.0.1:9/x.mp4"] {
        let refused = reader
            .get(&url(text), Purpose::Source(&list), HeaderMap::new())
            .await
            .err();
        assert!(
            matches!(refused, Some(ReadError::Refused(GuardError::ForbiddenHost))),
            "{text}: {refused:?}"
        );
    }
}

/// Answers one request with a whole answer.
async fn reading(answer: Vec<u8>) -> Pieces {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let text = format!("http://{}/", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.expect("a whole request"));
        }
        stream.write_all(&answer).await.expect("an open connection");
    });
    let answer = reader(LOOPBACK, &[])
        .get(&url(&text), Purpose::Endpoint, HeaderMap::new())
        .await;
    answer.expect("an answer").body
}

/// Bytes and pieces.
async fn counted(mut body: Pieces) -> (usize, usize) {
    let (mut bytes, mut pieces) = (0, 0);
    while let Some(piece) = body.next().await.expect("no break") {
        assert!(piece.len() <= 96 * 1024, "a piece of {}", piece.len());
        (bytes, pieces) = (bytes + piece.len(), pieces + 1);
    }
    assert_eq!(body.next().await.expect("the end stays the end"), None);
    (bytes, pieces)
}

/// What is held of a file is a few of its pieces, so a piece has a size: however much the network has at once.
#[tokio::test]
async fn a_piece_is_small_however_much_the_network_brings() {
    const FILE: usize = 8 * 1024 * 1024;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {FILE}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + FILE, 7);
    let body = reading(answer).await;
    assert_eq!(body.length(), Some(FILE as u64));
    assert_eq!(counted(body).await.0, FILE);
}

/// Each would keep a buffer of the connection.
#[tokio::test]
async fn small_reads_are_joined() {
    const READS: usize = 1000;
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..READS {
        answer.extend_from_slice(b"400\r\n");
        answer.resize(answer.len() + 1024, 7);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    let body = reading(answer).await;
    assert_eq!(body.length(), None);
    let (bytes, pieces) = counted(body).await;
    assert_eq!(bytes, READS * 1024);
    assert!(pieces <= READS / 4, "{pieces} pieces");
}

/// A connection that is whole serves the next file of the same origin, and one that was closed meanwhile is no failure.
#[tokio::test]
async fn a_connection_serves_one_file_after_the_other_until_it_is_closed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let text = format!("http://{}/", listener.local_addr().expect("bound"));
    let reader = reader(LOOPBACK, &[]);
    let server = tokio::spawn(async move {
        let mut connections = 0;
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            connections += 1;
            for _ in 0..2 {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(stream.read_u8().await.expect("a whole request"));
                }
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{connections}");
                stream.write_all(answer.as_bytes()).await.expect("open");
            }
        }
    });
    let mut answered = vec![];
    for _ in 0..5 {
        let answer = reader.get(&url(&text), Purpose::Endpoint, HeaderMap::new()).await;
        let mut body = answer.expect("an answer").body;
        answered.extend(body.next().await.expect("no break"));
        assert_eq!(body.next().await.expect("no break"), None);
    }
    assert_eq!(answered, ["1", "1", "2", "2", "3"]);
    server.abort();
}
