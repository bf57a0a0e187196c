//! What a submission came to, for every status and shape the provider's pages, SDKs and integrators name.

use super::{body, ours};
use crate::adapters::runware::outcomes::{Answer, Broken, queried, submitted, unanswered};
use crate::ports::provider::SubmitOutcome;
use std::time::Duration;

const WAIT: Option<Duration> = Some(Duration::from_secs(7));

fn answer(status: u16, template: &str) -> Answer {
    Answer {
        status,
        retry_after: WAIT,
        body: Ok(body(template).into_bytes()),
    }
}

/// An outcome in short.
fn came_to(outcome: SubmitOutcome) -> String {
    match outcome {
        SubmitOutcome::Accepted => "accepted".to_owned(),
        SubmitOutcome::Conflict => "conflict".to_owned(),
        SubmitOutcome::NotAccepted { code, retry_after } => {
            let wait = retry_after
                .map(|w| format!(" +{}s", w.as_secs()))
                .unwrap_or_default();
            format!("not accepted {code}{wait}")
        }
        SubmitOutcome::Refused {
            code,
            message,
            content_policy,
        } => format!(
            "refused {code}: {message}{}",
            if content_policy { " policy" } else { "" }
        ),
        SubmitOutcome::Parked { code } => format!("parked {code}"),
        SubmitOutcome::Unclear { code } => format!("unclear {code}"),
    }
}

#[test]
fn f16_every_answer_is_one_outcome() {
    let ack = r#"{"data":[{"taskType":"videoInference","taskUUID":"$ours"}]}"#;
    let error =
        |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"m","taskUUID":"$ours"}}]}}"#);
    let unnamed = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"m"}}]}}"#);
    let html = "<html><body>Bad gateway</body></html>";
    let table: Vec<(u16, String, &str)> = vec![
        // acknowledged
        (200, ack.to_owned(), "accepted"),
        (201, ack.to_owned(), "accepted"),
        (200, r#"{"data":[],"errors":[]}"#.to_owned(), "accepted"),
        (200, r#"{"data":[]}"#.to_owned(), "accepted"),
        (200, r#"{"data":{"taskType":"videoInference","taskUUID":"$ours"}}"#.to_owned(), "accepted"),
        (200, r#"{"data":[{"taskType":"videoInference"}]}"#.to_owned(), "accepted"),
        (200, r#"[{"taskType":"videoInference","taskUUID":"$ours"}]"#.to_owned(), "accepted"),
        (
            200,
            r#"{"data":[{"taskType":"authentication","connectionSessionUUID":"x"},{"taskType":"videoInference","taskUUID":"$ours"}]}"#.to_owned(),
            "accepted",
        ),
        (200, r#"{"data":[{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"}]}"#.to_owned(), "accepted"),
        (200, r#"{"data":[{"taskUUID":"$ours","status":"processing"}],"errors":[{"code":"x"}]}"#.to_owned(), "accepted"),
        // unreadable
        (200, String::new(), "unclear unreadable_answer"),
        (200, "{}".to_owned(), "unclear unreadable_answer"),
        (200, r#"{"errors":[]}"#.to_owned(), "unclear unreadable_answer"),
        (200, html.to_owned(), "unclear unreadable_answer"),
        (200, r#"{"data":"ok"}"#.to_owned(), "unclear unreadable_answer"),
        (200, r#"{"data":[{"taskUUID":"$other","taskType":"videoInference"}]}"#.to_owned(), "unclear unreadable_answer"),
        (204, String::new(), "unclear unreadable_answer"),
        // errors in a 200 are judged by code
        (200, error("conflictTaskUUID"), "conflict"),
        (200, error("invalidTtl"), "refused invalidTtl: m"),
        (200, error("unknownModel"), "refused unknownModel: m"),
        (200, error("contentPolicyViolation"), "refused contentPolicyViolation: m policy"),
        (200, error("rateLimitExceeded"), "not accepted rateLimitExceeded +7s"),
        (200, error("invalidApiKey"), "parked invalidApiKey"),
        (200, unnamed("insufficientCredits"), "parked insufficientCredits"),
        (200, error("internalServerError"), "unclear internalServerError"),
        (200, error("timeoutProvider"), "unclear timeoutProvider"),
        (200, error("providerInternalError"), "unclear providerInternalError"),
        (200, error("taskFailedOrNotFound"), "unclear taskFailedOrNotFound"),
        (200, error("somethingNew"), "unclear somethingNew"),
        (200, r#"{"error":"It broke"}"#.to_owned(), "unclear http_200"),
        (
            200,
            r#"{"data":[{"taskUUID":"$ours","status":"error","error":{"code":"invalidTtl","message":"m"}}]}"#.to_owned(),
            "refused invalidTtl: m",
        ),
        // of several errors the one that leaves doubt decides
        (200, r#"{"errors":[{"code":"invalidTtl"},{"code":"internalServerError"}]}"#.to_owned(), "unclear internalServerError"),
        (200, r#"{"errors":[{"code":"invalidTtl"},{"code":"conflictTaskUUID"}]}"#.to_owned(), "conflict"),
        (200, r#"{"errors":[{"code":"invalidTtl"},{"code":"rateLimitExceeded"}]}"#.to_owned(), "not accepted rateLimitExceeded +7s"),
        (
            200,
            r#"{"errors":[{"code":"invalidTtl"},{"code":"promptBlocked","message":"m"}]}"#.to_owned(),
            "refused promptBlocked: m policy",
        ),
        // refused
        (400, error("missingPositivePrompt"), "refused missingPositivePrompt: m"),
        (400, unnamed("invalidTtl"), "refused invalidTtl: m"),
        (400, error("promptBlocked"), "refused promptBlocked: m policy"),
        (400, html.to_owned(), "refused http_400: "),
        (400, r#"{"error":true,"errorMessage":"Wrong"}"#.to_owned(), "refused http_400: Wrong"),
        (404, error("unknownModel"), "refused unknownModel: m"),
        (403, error("forbidden"), "refused forbidden: m"),
        (403, error("insufficientPermissions"), "refused insufficientPermissions: m"),
        (403, html.to_owned(), "refused http_403: "),
        (413, html.to_owned(), "refused http_413: "),
        (
            400,
            r#"{"errors":[{"code":"invalidWebhookURL","message":"Bad 'https://svc/cb/v1/SECRET'","parameter":"webhookURL"}]}"#.to_owned(),
            "refused invalidWebhookURL: Bad [removed] (parameter: webhookURL)",
        ),
        // accepted earlier
        (400, error("conflictTaskUUID"), "conflict"),
        (409, unnamed("conflictTaskUUID"), "conflict"),
        (500, error("conflictTaskUUID"), "conflict"),
        // the account
        (401, html.to_owned(), "parked http_401"),
        (
            401,
            r#"{"errors":[{"code":"invalidApiKey","message":"m","parameter":"apiKey","taskType":"authentication"}]}"#.to_owned(),
            "parked invalidApiKey",
        ),
        (402, String::new(), "parked http_402"),
        (402, error("somethingNew"), "parked somethingNew"),
        (403, error("accountSuspended"), "parked accountSuspended"),
        (400, error("quotaExceeded"), "parked quotaExceeded"),
        (500, error("invalidApiKey"), "parked invalidApiKey"),
        (400, error("permissionDenied"), "parked permissionDenied"),
        // later
        (429, html.to_owned(), "not accepted http_429 +7s"),
        (429, error("rateLimitExceeded"), "not accepted rateLimitExceeded +7s"),
        (503, String::new(), "not accepted http_503 +7s"),
        (400, error("rateLimitExceeded"), "not accepted rateLimitExceeded +7s"),
        (308, String::new(), "not accepted http_308 +7s"),
        // nobody knows
        (408, String::new(), "unclear http_408"),
        (500, error("internalServerError"), "unclear internalServerError"),
        (502, html.to_owned(), "unclear http_502"),
        (504, html.to_owned(), "unclear http_504"),
        (599, String::new(), "unclear http_599"),
        (302, String::new(), "unclear http_302"),
        (303, String::new(), "unclear http_303"),
    ];
    for (status, template, expected) in table {
        let outcome = came_to(submitted(ours(), &answer(status, &template)));
        assert_eq!(outcome, expected, "{status} {template}");
    }
}

/// The head alone says enough only where the provider cannot have taken the task.
#[test]
fn f16_a_cut_answer_is_unclear_unless_its_status_says_enough() {
    let table = [
        (200, "unclear connection_lost"),
        (400, "unclear connection_lost"),
        (403, "unclear connection_lost"),
        (502, "unclear connection_lost"),
        (401, "parked http_401"),
        (402, "parked http_402"),
        (429, "not accepted http_429 +7s"),
        (503, "not accepted http_503 +7s"),
    ];
    for (status, expected) in table {
        let answer = Answer {
            status,
            retry_after: WAIT,
            body: Err(Broken::Lost),
        };
        assert_eq!(came_to(submitted(ours(), &answer)), expected, "{status}");
    }
}

#[test]
fn f16_only_an_unmade_connection_is_certain() {
    assert_eq!(
        came_to(unanswered(Broken::Unreachable)),
        "not accepted unreachable"
    );
    assert_eq!(came_to(unanswered(Broken::Timeout)), "unclear timeout");
    assert_eq!(came_to(unanswered(Broken::Lost)), "unclear connection_lost");
}

#[test]
fn a_query_is_answered_or_says_nothing() {
    let asked =
        |status, template| queried(answer(status, template)).map_err(|e| (e.code, e.parked, e.retry_after));
    let fault = |code: &str, parked| Err((code.to_owned(), parked, WAIT));
    assert_eq!(asked(200, "x"), Ok(b"x".to_vec()));
    let unknown = r#"{"errors":[{"code":"taskFailedOrNotFound","taskUUID":"$ours"}]}"#;
    assert_eq!(asked(404, unknown), Ok(body(unknown).into_bytes()));
    assert_eq!(asked(404, "<html>"), fault("http_404", false));
    assert_eq!(asked(404, r#"{"errors":[]}"#), fault("http_404", false));
    assert_eq!(asked(500, unknown), fault("taskFailedOrNotFound", false));
    assert_eq!(asked(401, ""), fault("http_401", true));
    assert_eq!(
        asked(403, r#"{"errors":[{"code":"invalidApiKey"}]}"#),
        fault("invalidApiKey", true)
    );
    assert_eq!(asked(403, ""), fault("http_403", false));
    assert_eq!(asked(429, ""), fault("http_429", false));
    assert_eq!(asked(302, ""), fault("http_302", false));
    let cut = |status| {
        let broken = Answer {
            status,
            retry_after: WAIT,
            body: Err(Broken::Timeout),
        };
        queried(broken).map_err(|e| (e.code, e.parked, e.retry_after))
    };
    assert_eq!(cut(200), fault("timeout", false));
    assert_eq!(cut(402), fault("http_402", true));
}
