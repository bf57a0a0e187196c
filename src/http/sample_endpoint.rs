//! A consumer as a user would write one, for `catchment dev`: verifies the signature, dedupes on `webhook-id`, answers
//! 2xx once it has kept the event.

use crate::domain::delivery::Secret;
use crate::domain::signature::verify;
use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use actix_web::dev::ServerHandle;
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tracing::warn;

pub struct SampleEndpoint {
    address: SocketAddr,
    server: ServerHandle,
    consumer: Data<Consumer>,
}

struct Consumer {
    secret: Secret,
    clock: Arc<dyn Clock>,
    /// Event id → when it was first taken.
    taken: Mutex<BTreeMap<String, Timestamp>>,
}

impl SampleEndpoint {
    /// Listens on a free port of the loopback, on a thread of its own.
    pub fn start(secret: Secret, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let consumer = Data::new(Consumer {
            secret,
            clock,
            taken: Mutex::default(),
        });
        let served = consumer.clone();
        let (started, server) = mpsc::channel();
        std::thread::Builder::new()
            .name("sample-endpoint".to_owned())
            .spawn(move || {
                actix_web::rt::System::new().block_on(async {
                    let app = move || {
                        App::new()
                            .app_data(served.clone())
                            .route("/events", web::post().to(take))
                    };
                    match HttpServer::new(app).workers(1).disable_signals().listen(listener) {
                        Ok(server) => {
                            let server = server.run();
                            let _ = started.send(Ok(server.handle())); // nobody waits: the owner is gone
                            server.await
                        }
                        Err(e) => {
                            let _ = started.send(Err(e));
                            Ok(())
                        }
                    }
                })
            })?;
        let server = server
            .recv()
            .map_err(|_| io::Error::other("the endpoint's thread ended at once"))??;
        Ok(Self {
            address,
            server,
            consumer,
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// Every event taken so far, and when.
    pub fn taken(&self) -> BTreeMap<String, Timestamp> {
        self.consumer.lock().clone()
    }

    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

impl Consumer {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(request: HttpRequest, body: Bytes, consumer: Data<Consumer>) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let (Some(id), Some(stamp), Some(signature)) = (
        header("webhook-id"),
        header("webhook-timestamp"),
        header("webhook-signature"),
    ) else {
        return HttpResponse::BadRequest().finish();
    };
    let now_s = consumer.clock.wall().as_millis() / 1000;
    let valid = stamp
        .parse()
        .is_ok_and(|t| verify(&consumer.secret, id, t, &body, signature, now_s));
    if !valid {
        warn!(event = id, "a delivery with a bad signature");
        return HttpResponse::Unauthorized().finish();
    }
    let now = consumer.clock.now();
    consumer.lock().entry(id.to_owned()).or_insert(now);
    HttpResponse::NoContent().finish()
}
