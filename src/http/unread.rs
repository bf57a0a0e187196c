//! Bodies that nobody reads. The framework drains a chunked body whose reader is gone for as long as the peer cares to
//! send, or not to send: a connection for ever, for anyone (T3). While the reader is alive it closes instead, after a
//! moment in which the peer can read the answer. So every request body lives until its answer is sent.

use actix_web::HttpMessage as _;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;
use std::cell::RefCell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A request's body, kept alive.
pub struct Kept(Option<Shared>);

type Shared = Rc<RefCell<Pin<Box<Payload>>>>;

/// What the handler reads.
struct Reader(Shared);

/// An answer's body that outlives its own last byte by the request's.
struct Holding {
    answer: BoxBody,
    _request: Shared,
}

impl Kept {
    pub fn of(req: &mut ServiceRequest) -> Self {
        match req.take_payload() {
            Payload::None => Self(None),
            payload => {
                let shared: Shared = Rc::new(RefCell::new(Box::pin(payload)));
                let reader = Reader(Rc::clone(&shared));
                req.set_payload(Payload::Stream {
                    payload: Box::pin(reader),
                });
                Self(Some(shared))
            }
        }
    }

    pub fn until_sent(self, answer: BoxBody) -> BoxBody {
        match self.0 {
            None => answer,
            Some(request) => BoxBody::new(Holding {
                answer,
                _request: request,
            }),
        }
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().as_mut().poll_next(cx)
    }
}

impl MessageBody for Holding {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(cx)
    }
}
