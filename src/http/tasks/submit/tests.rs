use super::*;
use actix_web::body::to_bytes;
use actix_web::test::TestRequest;
use serde_json::json;

fn key(values: &[&str]) -> Result<Option<String>, ApiError> {
    let req = values.iter().fold(TestRequest::default(), |r, v| {
        r.append_header((IDEMPOTENCY_KEY, *v))
    });
    idempotency_key(&req.to_http_request())
}

#[test]
fn an_idempotency_key_is_a_string_or_a_bare_token() {
    assert_eq!(key(&[]), Ok(None));
    assert_eq!(key(&["\"order 4711\""]), Ok(Some("order 4711".into())));
    assert_eq!(key(&["order-4711"]), Ok(Some("order-4711".into())));
    assert_eq!(key(&[r#""a\"b\\c""#]), Ok(Some(r#"a"b\c"#.into())));
    assert_eq!(key(&["x".repeat(255).as_str()]), Ok(Some("x".repeat(255))));
}

#[test]
fn any_other_idempotency_key_is_refused() {
    let long = "x".repeat(256);
    for bad in [
        &[""][..],
        &["\"\""],
        &["\"a"],
        &["\"a\"b\""],
        &[r#""a\b""#],
        &[&long],
        &["a\tb"],
        &["a", "b"],
    ] {
        assert_eq!(key(bad), Err(ApiError::InvalidIdempotencyKey), "{bad:?}");
    }
}

#[actix_web::test]
async fn the_answer_is_the_stored_entries_in_order() {
    let entries = [
        r#"{"taskUUID":"a","n":1}"#.to_owned(),
        r#"{"taskUUID":"b","n":2}"#.to_owned(),
    ];
    let several = answer(&entries, false);
    assert_eq!(several.status(), 202);
    assert!(
        several.headers().get(LOCATION).is_none() && several.headers().get(IDEMPOTENT_REPLAYED).is_none()
    );
    assert_eq!(several.headers().get("content-type").unwrap(), "application/json");
    let body: Value = serde_json::from_slice(&to_bytes(several.into_body()).await.unwrap()).unwrap();
    assert_eq!(
        body,
        json!({"data": [{"taskUUID": "a", "n": 1}, {"taskUUID": "b", "n": 2}]})
    );

    let one = answer(&entries[..1], true);
    assert_eq!(one.headers().get(LOCATION).unwrap(), "/v1/tasks/a");
    assert_eq!(one.headers().get(IDEMPOTENT_REPLAYED).unwrap(), "true");
}
