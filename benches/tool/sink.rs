//! A consumer that takes every delivery, at once or late, and counts. `GET /` tells the count.

use crate::Outcome;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use serde_json::json;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(clap::Args)]
pub struct Args {
    /// Answer so late, in milliseconds.
    #[arg(long, default_value_t = 0)]
    late_ms: u64,
}

struct Taken {
    count: AtomicU64,
    late: Duration,
}

pub fn run(args: Args) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", json!({ "address": listener.local_addr()? }));
    let taken = Data::new(Taken {
        count: AtomicU64::new(0),
        late: Duration::from_millis(args.late_ms),
    });
    let app = move || {
        App::new()
            .app_data(taken.clone())
            .route("/", web::get().to(told))
            .default_service(web::post().to(take))
    };
    let server = HttpServer::new(app).workers(1).listen(listener)?.run();
    actix_web::rt::System::new().block_on(server)?;
    Ok(())
}

async fn told(taken: Data<Taken>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "count": taken.count.load(Ordering::Relaxed) }))
}

async fn take(body: Bytes, taken: Data<Taken>) -> HttpResponse {
    drop(body);
    if !taken.late.is_zero() {
        tokio::time::sleep(taken.late).await;
    }
    taken.count.fetch_add(1, Ordering::Relaxed);
    HttpResponse::NoContent().finish()
}
