//! `/sim/v1`: what no provider has, for people and for tests in other processes.

use std::time::Duration;

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use serde_json::{Value, json};

use super::faults::Faults;
use super::report::generations;
use super::setting::Setting;
use super::world::World;

pub fn routes(config: &mut ServiceConfig) {
    config
        .route("/sim/v1/stats", web::get().to(stats))
        .route("/sim/v1/generations", web::get().to(list))
        .route("/sim/v1/faults", web::get().to(faults))
        .route("/sim/v1/faults", web::post().to(set_faults))
        .route("/sim/v1/advance", web::post().to(advance));
}

async fn stats(world: Data<World>) -> impl Responder {
    web::Json(world.stats())
}

async fn list(world: Data<World>) -> HttpResponse {
    // Digests of large files take seconds: not on a thread that serves.
    match web::block(move || generations(&world)).await {
        Ok(generations) => HttpResponse::Ok().json(generations),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn faults(world: Data<World>) -> impl Responder {
    HttpResponse::Ok().json(&*world.faults())
}

async fn set_faults(world: Data<World>, document: web::Json<Value>) -> HttpResponse {
    match Faults::from_json(&document) {
        Ok(faults) => {
            world.set_faults(faults);
            HttpResponse::Ok().json(&*world.faults())
        }
        Err(fault) => HttpResponse::UnprocessableEntity().json(json!({ "error": fault })),
    }
}

/// `{"by":"2h"}`; a bare number is milliseconds.
async fn advance(world: Data<World>, document: web::Json<Value>) -> HttpResponse {
    let by = match &document["by"] {
        Value::String(text) => Duration::read(text),
        other => Duration::read(&other.to_string()),
    };
    match by {
        Ok(by) => {
            world.clock.advance(by);
            HttpResponse::Ok().json(json!({ "now": world.clock.now() }))
        }
        Err(fault) => HttpResponse::UnprocessableEntity().json(json!({ "error": fault })),
    }
}
