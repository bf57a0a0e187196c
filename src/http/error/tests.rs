use super::*;
use actix_web::body::to_bytes;
use serde_json::{Value, json};

fn one_of_each() -> Vec<ApiError> {
    let fault = Fault {
        pointer: "/ttl".into(),
        code: FaultCode::OutOfRange,
        detail: "must be an integer of at least 60".into(),
    };
    let later = Fault {
        code: FaultCode::NotSupportedYet,
        ..fault.clone()
    };
    vec![
        ApiError::MalformedJson("The body is not UTF-8 at byte 3.".into()),
        ApiError::InvalidTask(vec![fault.clone()]),
        ApiError::InvalidEndpoint(vec![fault.clone()]),
        ApiError::InvalidQuery(vec![fault.clone()]),
        ApiError::InvalidImport(vec![fault.clone()]),
        ApiError::BucketUnavailable {
            code: "timeout".into(),
        },
        ApiError::InvalidFilter(vec![fault]),
        ApiError::InvalidIdempotencyKey,
        ApiError::KeyReused,
        ApiError::TaskConflict {
            pointer: "/1/taskUUID".into(),
            task: TaskId::ordered(1, [1; 16]),
        },
        ApiError::NothingToRetry {
            task: TaskId::ordered(1, [1; 16]),
        },
        ApiError::TooManyEndpoints { max: 100 },
        ApiError::BodyTooLarge { max_bytes: 16 },
        ApiError::TooManyValues,
        ApiError::UnsupportedMediaType("x"),
        ApiError::BodyTimeout,
        ApiError::BodyIncomplete,
        ApiError::RateLimited,
        ApiError::TooFast { wait_s: 3 },
        ApiError::Unauthorized,
        ApiError::NotFound,
        ApiError::MethodNotAllowed { allow: "GET".into() },
        ApiError::AssetNotArchived { status: "pending" },
        ApiError::ObjectStoreUnavailable,
        ApiError::CursorTooOld { oldest: 7 },
        ApiError::InvalidTask(vec![later]),
        ApiError::StorageUnavailable,
        ApiError::Overloaded,
        ApiError::Internal,
    ]
}

async fn told(error: &ApiError) -> (HttpResponse<()>, Value) {
    let (head, body) = error.respond(Some("req-1")).into_parts();
    let bytes = to_bytes(body).await.unwrap();
    (head, serde_json::from_slice(&bytes).unwrap())
}

#[actix_web::test]
async fn every_error_is_a_problem_with_a_stable_code() {
    let errors = one_of_each();
    let mut codes: Vec<&str> = errors.iter().map(|e| e.facts().code).collect();
    codes.dedup(); // too many at once, too many a second: one code
    assert_eq!(codes, CODES, "a code without an example, or out of order");
    for error in &errors {
        let (head, problem) = told(error).await;
        assert_eq!(
            head.headers().get("content-type").unwrap(),
            "application/problem+json"
        );
        assert_eq!(problem["status"], head.status().as_u16());
        assert_eq!(problem["type"], format!("/docs/problems#{}", error.facts().code));
        assert_eq!(problem["code"], error.facts().code);
        assert_eq!(problem["requestId"], "req-1");
        for member in ["title", "detail"] {
            assert!(!problem[member].as_str().unwrap().is_empty(), "{problem}");
        }
        assert!(problem["errors"].is_array() && problem["retryable"].is_boolean());
    }
}

#[actix_web::test]
async fn g9_what_may_succeed_later_says_when() {
    for error in one_of_each() {
        let (head, problem) = told(&error).await;
        let waits = matches!(head.status().as_u16(), 429 | 503);
        assert_eq!(head.headers().contains_key("retry-after"), waits, "{error}");
        assert!(!waits || problem["retryable"] == json!(true));
    }
}

#[actix_web::test]
async fn a_conflict_names_the_task_and_where_it_stands() {
    let all = one_of_each();
    let conflict = all.iter().find(|e| matches!(e, ApiError::TaskConflict { .. }));
    let (head, problem) = told(conflict.unwrap()).await;
    assert_eq!(head.status(), 409);
    assert_eq!(problem["taskUUID"], TaskId::ordered(1, [1; 16]).to_string());
    assert_eq!(problem["errors"][0]["pointer"], "/1/taskUUID");
}

#[actix_web::test]
async fn headers_that_a_status_calls_for_are_there() {
    let (head, _) = told(&ApiError::Unauthorized).await;
    assert_eq!(head.headers().get("www-authenticate").unwrap(), "Bearer");
    let (head, _) = told(&ApiError::MethodNotAllowed {
        allow: "GET, HEAD".into(),
    })
    .await;
    assert_eq!(head.headers().get("allow").unwrap(), "GET, HEAD");
}

#[test]
fn only_things_not_done_yet_are_told_as_such() {
    let fault = |code| Fault {
        pointer: "/webhookURL".into(),
        code,
        detail: "x".into(),
    };
    let code = |faults| ApiError::InvalidTask(faults).facts().code;
    assert_eq!(code(vec![fault(FaultCode::NotSupportedYet)]), "not_supported_yet");
    assert_eq!(
        code(vec![
            fault(FaultCode::NotSupportedYet),
            fault(FaultCode::Required)
        ]),
        "invalid_task"
    );
}

#[test]
fn every_code_is_explained() {
    let page = include_str!("../../../docs/problems.md");
    for code in CODES {
        assert!(
            page.contains(&format!("\n## {code}\n")),
            "docs/problems.md lacks {code}"
        );
    }
    let document = crate::http::document();
    let document: Value = serde_json::from_str(document).unwrap();
    let faults = document["components"]["schemas"]["FaultCode"]["enum"]
        .as_array()
        .unwrap();
    assert_eq!(faults.len(), 10);
    for code in faults {
        let code = code.as_str().unwrap();
        assert!(
            page.contains(&format!("| `{code}` |")),
            "docs/problems.md lacks {code}"
        );
    }
}

#[test]
fn f5_a_locked_database_is_never_an_internal_error() {
    let locked = StoreError::Unavailable {
        during: "accept",
        source: "database is locked".into(),
    };
    assert_eq!(ApiError::from(locked), ApiError::StorageUnavailable);
    assert_eq!(ApiError::from(StoreError::Overloaded), ApiError::Overloaded);
}
