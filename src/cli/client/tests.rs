use super::*;
use crate::cli::tests::service::{answer, service};
use std::net::TcpListener;

fn client(url: &str, key: Option<&str>) -> Client {
    // Two tests may come first at the same time: installed already is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::new(&ClientFlags {
        url: url.to_owned(),
        key: key.map(SecretString::from),
    })
    .unwrap()
}

fn refused(text: &str) -> &'static str {
    base_url(text).unwrap_err()
}

#[tokio::test]
async fn a_problem_document_becomes_a_clear_error() {
    let body = r#"{"title":"Busy","detail":"Too many writes.","code":"overloaded","requestId":"r-9"}"#;
    let (url, _requests) = service(vec![
        answer("503 Service Unavailable", "retry-after: 3\r\n", body),
        answer(
            "401 Unauthorized",
            "",
            r#"{"detail":"No such key.","code":"unauthorized"}"#,
        ),
    ]);
    let client = client(&url, Some("ck_secret"));
    let busy = client.get(&["v1", "tasks"], &[], None).await.unwrap_err();
    assert!(busy.is_temporary());
    assert_eq!(busy.retry_after(), Some(Duration::from_secs(3)));
    let busy = CliError::from(busy);
    assert_eq!(busy.exit, Exit::Temporary);
    assert_eq!(
        busy.to_string(),
        "error: Too many writes. (overloaded)\n  request: r-9\n  next: try again in 3 s"
    );
    let unknown = CliError::from(client.get(&["v1", "tasks"], &[], None).await.unwrap_err());
    assert_eq!(unknown.exit, Exit::Auth);
    assert!(!format!("{unknown} {unknown:?}").contains("ck_secret"));
}

#[tokio::test]
async fn a_request_carries_key_path_query_and_wait() {
    let (url, requests) = service(vec![answer("200 OK", "", "{}")]);
    let query = [("label.a b".to_owned(), "1&2".to_owned())];
    client(&format!("{url}/prefix/"), Some("ck_secret\n"))
        .get(&["v1", "tasks"], &query, Some(Duration::from_secs(30)))
        .await
        .unwrap();
    let asked = requests.recv().unwrap();
    assert!(
        asked.starts_with("GET /prefix/v1/tasks?label.a+b=1%262&wait=30s HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(asked.contains("authorization: Bearer ck_secret\r\n"), "{asked}");
}

#[tokio::test]
async fn a_submission_is_sent_as_it_is_under_its_key() {
    let (url, requests) = service(vec![answer(
        "202 Accepted",
        "idempotent-replayed: true\r\n",
        r#"{"data":[]}"#,
    )]);
    let body = b"{ \"seed\": 1.0e2 }".to_vec();
    let got = client(&url, None)
        .post(&["v1", "tasks"], body, Some("order-42"))
        .await
        .unwrap();
    assert!(got.replayed);
    let asked = requests.recv().unwrap();
    assert!(asked.contains("idempotency-key: \"order-42\"\r\n"), "{asked}");
    assert!(
        asked.ends_with("\r\n\r\n{ \"seed\": 1.0e2 }") && !asked.contains("authorization"),
        "{asked}"
    );
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_page_taken_for_an_answer() {
    let (url, requests) = service(vec![
        answer("307 Temporary Redirect", "location: http://127.0.0.1:1/\r\n", ""),
        answer("200 OK", "", "<html>"),
        answer("204 No Content", "", ""),
    ]);
    let client = client(&url, Some("ck_secret"));
    let moved = client.get(&["v1"], &[], None).await.unwrap_err();
    assert!(
        matches!(&moved, ClientError::Refused(problem) if problem.status == 307),
        "{moved:?}"
    );
    let moved = CliError::from(moved);
    assert!(moved.next.unwrap().contains("--url"));
    let page = CliError::from(client.get(&["v1"], &[], None).await.unwrap_err());
    assert_eq!(
        (page.exit, page.message.as_str()),
        (Exit::Failure, "the answer is not JSON")
    );
    assert_eq!(client.delete(&["v1"]).await.unwrap().body, Value::Null);
    assert_eq!(requests.iter().count(), 3);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unclear_a_closed_port_is_not() {
    let cut = "HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\n{".to_owned();
    let (url, _requests) = service(vec![cut]);
    let client_here = client(&url, None);
    let broken = client_here
        .post(&["v1", "tasks"], vec![], None)
        .await
        .unwrap_err();
    assert!(matches!(broken, ClientError::Broken { .. }), "{broken:?}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = client(&format!("http://{free}"), None)
        .get(&["v1"], &[], None)
        .await
        .unwrap_err();
    assert!(matches!(nobody, ClientError::Unreached { .. }), "{nobody:?}");
    let nobody = CliError::from(nobody);
    assert_eq!(nobody.exit, Exit::Temporary);
    assert!(nobody.message.contains(&free.to_string()), "{nobody}");
}

#[test]
fn addresses_are_checked_without_being_quoted() {
    assert!(refused("localhost:8080").contains("http"));
    assert!(refused("ftp://a").contains("http"));
    for text in [
        "http://me:pw-secret@a/",
        "http://a/?pw-secret",
        "http://a/#pw-secret",
    ] {
        assert!(!refused(text).contains("pw-secret"));
    }
    assert!(base_url("https://a.example/below/").is_ok());
    let odd = ClientFlags {
        url: "http://a".to_owned(),
        key: Some(SecretString::from("ck_\u{7f}secret")),
    };
    let Err(error) = Client::new(&odd) else {
        panic!("taken")
    };
    assert_eq!(error.exit, Exit::Usage);
    assert!(!format!("{error:?}").contains("secret"));
}
