//! Ways to answer badly: cut connections, answers cut in the middle, refusals.

use std::any::Any;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::dev::Extensions;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use socket2::{SockRef, Socket};

use super::clock::real_sleep;
use super::setting::Refusal;
use super::wire::{Answer, ErrorEntry};

/// Long enough for bytes written before a cut to reach the peer on the same machine.
pub const FLUSH_PAUSE: Duration = Duration::from_millis(30);

/// A second handle on the connection's socket: the server itself offers no way to hang up before answering.
struct Wire(Socket);

/// Remembers each connection's socket; registered as the server's `on_connect`.
pub fn remember(connection: &dyn Any, extensions: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>()
        && let Ok(socket) = SockRef::from(stream).try_clone()
    {
        extensions.insert(Wire(socket));
    }
}

/// Hangs up. The response only satisfies the framework; not a byte of it leaves.
pub fn cut(request: &HttpRequest) -> HttpResponse {
    if let Some(Wire(socket)) = request.conn_data::<Wire>() {
        // The peer may have hung up first, which is as good.
        let _ = socket.shutdown(Shutdown::Both);
    }
    HttpResponse::ServiceUnavailable().force_close().finish()
}

/// A JSON answer whose head promises the whole and whose body ends half way.
pub fn half(status: u16, body: &str) -> HttpResponse {
    let first = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    let broken = stream::unfold(Some(first), |first| async move {
        match first {
            Some(first) => Some((Ok(first), None)),
            None => {
                real_sleep(FLUSH_PAUSE).await;
                Some((Err(io::Error::other("cut on purpose")), None))
            }
        }
    });
    let body = SizedStream::new(body.len() as u64, broken);
    HttpResponse::build(status_code(status))
        .content_type("application/json")
        .body(body)
}

pub fn refusal(refusal: Refusal) -> HttpResponse {
    match refusal {
        Refusal::Html => HttpResponse::BadGateway()
            .insert_header((CONTENT_TYPE, "text/html"))
            .body(
                "<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>",
            ),
        Refusal::RetryAfter => error_answer(429)
            .insert_header((RETRY_AFTER, "1"))
            .body(error_body(429)),
        Refusal::Status(status) => error_answer(status).body(error_body(status)),
    }
}

fn error_answer(status: u16) -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::build(status_code(status));
    answer.content_type("application/json");
    answer
}

fn error_body(status: u16) -> String {
    let (code, message) = match status {
        401 => return Answer::refusal(ErrorEntry::invalid_key()).body(false).to_string(),
        402 => (
            "insufficientCredits",
            "The balance is too low. Top up and try again.",
        ),
        403 => ("permissionDenied", "The API key has no permission for this."),
        408 => ("requestTimeout", "The request took too long."),
        429 => ("rateLimitExceeded", "The queue is full. Try again later."),
        503 => (
            "serviceUnavailable",
            "There is no capacity for a moment. Try again later.",
        ),
        504 => ("timeoutProvider", "The wait in the queue ran out."),
        500..=599 => ("internalServerError", "Something went wrong on our side."),
        _ => ("invalidRequest", "The request was refused."),
    };
    Answer::refusal(ErrorEntry::new(code, message))
        .body(false)
        .to_string()
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
