//! Every route, once: what is served, what a wrong method is told, and what the document must describe (T15).

use super::error::ApiError;
use super::{Api, assets, audit, callback, edge, endpoints, events, health, tasks, usage};
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{App, Error, HttpResponse, Route, guard, web};

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `/v1`, and the document that describes it.
    Api,
    /// `/cb`.
    Callback,
    /// Health, build, metrics.
    Admin,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Api, Self::Callback, Self::Admin];
}

/// A method and what answers it.
type Answered = (&'static str, fn() -> Route);

pub struct Entry {
    pub part: Part,
    pub path: &'static str,
    pub methods: &'static [Answered],
}

const fn entry(part: Part, path: &'static str, methods: &'static [Answered]) -> Entry {
    Entry { part, path, methods }
}

pub const TABLE: &[Entry] = &[
    // The first: paths are tried one after the other, and this one is asked for the most.
    entry(
        Part::Callback,
        "/cb/v1/{token}",
        &[("POST", || web::route().to(callback::receive))],
    ),
    entry(
        Part::Api,
        "/v1/tasks",
        &[
            ("GET", || get().to(tasks::list)),
            ("POST", || web::post().to(tasks::submit::submit)),
        ],
    ),
    // Before the pattern that would take `import` for a UUID.
    entry(
        Part::Api,
        "/v1/tasks/import",
        &[("POST", || web::post().to(tasks::import::run))],
    ),
    entry(Part::Api, "/v1/usage", &[("GET", || get().to(usage::show))]),
    entry(
        Part::Api,
        "/v1/audit",
        &[
            ("GET", || get().to(audit::show)),
            ("POST", || web::post().to(audit::repair)),
        ],
    ),
    // Before the task of a UUID: no UUID reads `retry`.
    entry(
        Part::Api,
        "/v1/tasks/retry",
        &[("POST", || web::post().to(tasks::retry::many))],
    ),
    entry(
        Part::Api,
        "/v1/tasks/{taskUUID}/retry",
        &[("POST", || web::post().to(tasks::retry::one))],
    ),
    entry(
        Part::Api,
        "/v1/tasks/{taskUUID}",
        &[("GET", || get().to(tasks::show))],
    ),
    entry(
        Part::Api,
        "/v1/tasks/{taskUUID}/webhook/redrive",
        &[("POST", || web::post().to(tasks::webhook::redrive))],
    ),
    entry(
        Part::Api,
        "/v1/assets/{taskUUID}/{resultId}",
        &[("GET", || get().to(assets::show))],
    ),
    entry(
        Part::Api,
        "/v1/assets/{taskUUID}/{resultId}/content",
        &[("GET", || get().to(assets::content))],
    ),
    entry(Part::Api, "/v1/events", &[("GET", || get().to(events::list))]),
    entry(
        Part::Api,
        "/v1/endpoints",
        &[
            ("GET", || get().to(endpoints::list)),
            ("POST", || web::post().to(endpoints::create)),
        ],
    ),
    entry(
        Part::Api,
        "/v1/endpoints/{id}",
        &[
            ("GET", || get().to(endpoints::show)),
            ("PATCH", || web::patch().to(endpoints::change::change)),
            ("DELETE", || web::delete().to(endpoints::delete)),
        ],
    ),
    entry(
        Part::Api,
        "/v1/endpoints/{id}/rotate",
        &[("POST", || web::post().to(endpoints::change::rotate))],
    ),
    entry(
        Part::Api,
        "/v1/endpoints/{id}/test",
        &[("POST", || web::post().to(endpoints::change::test))],
    ),
    entry(
        Part::Api,
        "/v1/endpoints/{id}/deliveries",
        &[("GET", || get().to(endpoints::deliveries::list))],
    ),
    entry(
        Part::Api,
        "/v1/endpoints/{id}/redrive",
        &[("POST", || web::post().to(endpoints::deliveries::redrive))],
    ),
    entry(
        Part::Api,
        "/openapi.json",
        &[("GET", || get().to(health::openapi_json))],
    ),
    entry(
        Part::Api,
        "/docs/problems",
        &[("GET", || get().to(health::problems))],
    ),
    entry(Part::Admin, "/livez", &[("GET", || get().to(health::live))]),
    entry(Part::Admin, "/readyz", &[("GET", || get().to(health::ready))]),
    entry(Part::Admin, "/version", &[("GET", || get().to(health::version))]),
    entry(Part::Admin, "/metrics", &[("GET", || get().to(health::metrics))]),
];

/// The whole application of one listener.
pub fn app(
    api: web::Data<Api>,
    parts: &[Part],
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + use<>,
> {
    App::new()
        .app_data(api)
        .configure(|cfg| routes(cfg, parts))
        .wrap(from_fn(edge::around))
}

/// The routes of these parts. The application must hold the [`Api`] as its data and be wrapped as [`app`] does.
pub fn routes(cfg: &mut ServiceConfig, parts: &[Part]) {
    for entry in TABLE.iter().filter(|e| parts.contains(&e.part)) {
        match entry.part {
            // One handler for everything below the prefix: see `callback`.
            Part::Callback => {
                let scope = web::scope(edge::CALLBACK_PREFIX);
                cfg.service(scope.default_service(web::to(callback::receive)));
            }
            Part::Api | Part::Admin => drop(cfg.service(resource(entry))),
        }
    }
    cfg.default_service(web::to(|| async { Err::<HttpResponse, _>(ApiError::NotFound) }));
}

fn resource(entry: &Entry) -> actix_web::Resource {
    let allow = allow(entry.methods);
    let refuse = move || {
        let allow = allow.clone();
        async move { Err::<HttpResponse, _>(ApiError::MethodNotAllowed { allow }) }
    };
    entry
        .methods
        .iter()
        .fold(web::resource(entry.path), |r, (_, route)| r.route(route()))
        .default_service(web::to(refuse))
}

fn allow(methods: &[Answered]) -> String {
    let names = methods.iter().flat_map(|(name, _)| match *name {
        "GET" => vec!["GET", "HEAD"],
        other => vec![other],
    });
    names.collect::<Vec<_>>().join(", ")
}

/// HEAD is GET whose body the server leaves out.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}
