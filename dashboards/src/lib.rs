//! The HTTP API, live push and the embedded screen: the view over store, map and alerts.
//!
//! Every request passes `access::gate`, which knows what each route needs and denies the rest; what of a division
//! is shown is asked of the [`Scope`](onemap_model::Scope) in each handler.

mod access;
mod accounts;
mod api;
pub mod auth;
pub mod basemap;
mod changes;
mod error;
pub mod feeding;
pub mod foresight;
mod frames;
pub mod geocoding;
pub mod hindsight;
pub mod keeping;
pub mod limits;
mod networks;
mod ogc;
pub mod oidc;
mod openapi;
mod prometheus;
pub mod proposals;
mod push;
mod request;
pub mod rpc;
pub mod screen;
pub mod security;
pub mod shares;
pub mod stand;
pub mod views;
pub mod warnings;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Extension, Router};
use onemap_ingest::mqtt::Certificates;
use onemap_store::ledger::TokenHash;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use accounts::Trust;
pub use api::entity_import::sweep;
pub use api::map::tiles::Tiles;
pub use api::persons::counts::PersonCounts;
pub use api::persons::keys::carry_over as carry_over_persons;
pub use api::standards::hours_of;
pub use changes::Changes;
pub use frames::NewestFrames;
use limits::{Bounds, Gauges, Limits};
pub use networks::Networks;
pub use push::live::{Hub, pump};
use views::Views;

/// Largest body of what anybody may ask.
const SMALL_BODY: usize = 64 << 10;
/// A desk with the shifts of two years.
const ROSTER_BODY: usize = 1 << 20;

/// The whole HTTP surface. `scraper` is the hash of the token that opens `/metrics` alone, `provider` the one of OpenID
/// Connect whose word lets people in, if there are such.
pub fn router(
    views: Arc<Views>,
    hub: Hub,
    limits: Limits,
    scraper: Option<TokenHash>,
    provider: Option<oidc::Settings>,
    stop: CancellationToken,
) -> Router {
    use api::devices::{change, provisioning};
    use api::{
        accounts, aggregate, alarm_load, alerts, attributes, cards, commands, corrections, device_http,
        devices, drills, dust, duty, duty_log, entities, entity_export, entity_import, evidence, explain,
        export, feeds, fences, fetched, forecasts, geocode, history, hydrology, import, latest, ledger, map,
        persons, proposals, quarantine, readings, readmit, recode, reports, reviews, rules, series, session,
        setup, skill, standards, system, warnings, write,
    };
    let scoped = Router::new()
        .route("/api/v1/session", get(session::show).delete(session::end))
        .route(
            "/api/v1/session/password",
            sized(post(session::change_password), SMALL_BODY),
        )
        .route(
            "/api/v1/accounts",
            get(accounts::list_accounts).post(accounts::add),
        )
        .route(
            "/api/v1/accounts/{id}",
            get(accounts::show)
                .patch(accounts::patch)
                .delete(accounts::remove),
        )
        .route("/api/v1/accounts/{id}/link", post(accounts::invite))
        .route(
            "/api/v1/accounts/{id}/subject",
            sized(put(accounts::speak_of), SMALL_BODY).merge(delete(accounts::forget_subject)),
        )
        .route("/api/v1/accounts/{id}/logout", post(accounts::log_out))
        .route("/api/v1/tokens", get(session::tokens).post(session::token))
        .route("/api/v1/tokens/{id}", delete(session::revoke))
        .route("/api/v1/security/events", get(api::security::list_events))
        .route("/api/v1/system", get(system::show))
        .route(
            "/api/v1/devices/{id}/attributes",
            get(attributes::show)
                .put(attributes::put)
                .patch(attributes::patch)
                .delete(attributes::delete),
        )
        .route("/api/v1/devices", get(devices::list_devices).post(change::add))
        .route("/api/v1/devices/summary", get(devices::summary))
        .route("/api/v1/devices/import", post(devices::import::import))
        .route(
            "/api/v1/devices/{id}/hydrology",
            get(hydrology::show).put(hydrology::put).delete(hydrology::delete),
        )
        .route("/api/v1/hydrology/import", post(hydrology::import))
        .route("/api/v1/devices/{id}/frames", get(devices::frames::show))
        .route("/api/v1/devices/{id}", get(devices::show).patch(change::patch))
        .route(
            "/api/v1/devices/{id}/token",
            post(change::rotate).delete(change::revoke),
        )
        .route("/api/v1/devices/{id}/maintenance", post(change::maintain))
        .route("/api/v1/devices/{id}/retire", post(change::retire))
        .route("/api/v1/devices/{id}/activate", post(change::activate))
        .route(
            "/api/v1/profiles/{id}/provisioning",
            get(provisioning::show)
                .post(provisioning::open)
                .delete(provisioning::close),
        )
        .route("/api/v1/quantities", get(devices::quantities))
        .route("/api/v1/profiles", get(devices::profiles))
        .route("/api/v1/profiles/{id}", put(devices::put_profile))
        .route("/api/v1/ledger", get(ledger::show))
        .route("/api/v1/readings", post(readings::post))
        .route("/api/v1/readings/import", post(import::post))
        .route("/api/v1/latest", get(latest::latest))
        .route("/api/v1/aggregate", get(aggregate::show))
        .route("/api/v1/standards/air", get(standards::air::show))
        .route("/api/v1/standards/noise", get(standards::noise::show))
        .route("/api/v1/standards/rain", get(standards::rain::show))
        .route("/api/v1/standards/stage", get(standards::stage::show))
        .route("/api/v1/standards/water", get(standards::water::show))
        .route("/api/v1/export", get(export::export))
        .route("/api/v1/series", get(series::series))
        .route("/api/v1/series/{id}/values", get(series::values))
        .route("/api/v1/reviews", get(reviews::list_reviews).post(reviews::post))
        .route(
            "/api/v1/corrections",
            get(corrections::list_corrections).post(corrections::post),
        )
        .route("/api/v1/corrections/{id}/withdraw", post(corrections::withdraw))
        .route("/api/v1/dust", get(dust::list_dust).post(dust::post))
        .route("/api/v1/dust/{id}/withdraw", post(dust::withdraw))
        .route("/api/v1/alerts", get(alerts::list_alerts))
        .route("/api/v1/alerts/cards", get(cards::list_cards))
        .route("/api/v1/alerts/cards/{id}", get(cards::show_card))
        .route("/api/v1/alerts/load", get(alarm_load::load))
        .route("/api/v1/alerts/{id}", get(alerts::show))
        .route("/api/v1/alerts/{id}/explain", get(explain::alert))
        .route("/api/v1/why", get(explain::why))
        .route("/api/v1/duty", get(duty::list_desks))
        .route(
            "/api/v1/duty/{desk}",
            sized(put(duty::put), ROSTER_BODY).merge(delete(duty::remove)),
        )
        .route("/api/v1/drills", get(drills::list_drills))
        .route("/api/v1/drills/{drill}", put(drills::put).delete(drills::end))
        .route(
            "/api/v1/duty/{desk}/log",
            sized(
                get(duty_log::lines::show).post(duty_log::post),
                duty_log::MAX_BODY,
            ),
        )
        .route(
            "/api/v1/duty/{desk}/handover",
            sized(post(duty_log::hand_over), duty_log::MAX_BODY),
        )
        .route(
            "/api/v1/duty/{desk}/takeover",
            sized(post(duty_log::take_over), duty_log::MAX_BODY),
        )
        .route("/api/v1/reports/daily", get(reports::daily))
        .route("/api/v1/reports/monthly", get(reports::monthly))
        .route("/api/v1/alerts/{id}/ack", post(alerts::ack))
        .route("/api/v1/alerts/{id}/assign", post(alerts::assign))
        .route("/api/v1/alerts/{id}/shelve", post(alerts::shelve))
        .route("/api/v1/alerts/{id}/unshelve", post(alerts::unshelve))
        .route("/api/v1/alerts/{id}/close", post(alerts::close))
        .route("/api/v1/feeds", get(feeds::list_feeds))
        .route("/api/v1/feeds/{name}/receipts", get(feeds::receipts))
        .route("/api/v1/feeds/{name}/set-aside", get(feeds::set_aside))
        .route("/api/v1/feeds/{name}/set-aside/{id}/retry", post(feeds::retry))
        .route("/api/v1/alerts/{id}/evidence", get(evidence::take))
        .route(
            "/api/v1/alerts/{id}/warning",
            sized(post(warnings::steps::propose), SMALL_BODY),
        )
        .route(
            "/api/v1/warnings",
            sized(
                get(warnings::list_warnings).post(warnings::steps::post),
                warnings::MAX_BODY,
            ),
        )
        .route(
            "/api/v1/warnings/received",
            sized(
                get(warnings::received::list_received).post(warnings::received::post),
                warnings::received::MAX_BODY,
            ),
        )
        .route(
            "/api/v1/warnings/received.geojson",
            get(warnings::received::geojson),
        )
        .route("/api/v1/warnings/score", get(warnings::score::show))
        .route(
            "/api/v1/warnings/{id}",
            sized(
                get(warnings::show)
                    .put(warnings::steps::put)
                    .delete(warnings::steps::delete),
                warnings::MAX_BODY,
            ),
        )
        .route(
            "/api/v1/warnings/{id}/approve",
            sized(post(warnings::steps::approve), SMALL_BODY),
        )
        .route(
            "/api/v1/warnings/{id}/reject",
            sized(post(warnings::steps::reject), SMALL_BODY),
        )
        .route(
            "/api/v1/warnings/{id}/update",
            sized(post(warnings::steps::update), warnings::MAX_BODY),
        )
        .route(
            "/api/v1/warnings/{id}/cancel",
            sized(post(warnings::steps::cancel), SMALL_BODY),
        )
        .route(
            "/api/v1/commands",
            get(commands::list_commands).post(commands::post),
        )
        .route("/api/v1/commands/{id}", get(commands::show))
        .route("/api/v1/commands/{id}/cancel", post(commands::cancel))
        .route("/api/rpc/oneway/{device}", post(commands::one_way))
        .route("/api/rpc/twoway/{device}", post(commands::two_way))
        .route("/api/v1/rules", get(rules::list_rules))
        .route("/api/v1/rules/proposals", get(proposals::list_proposals))
        .route(
            "/api/v1/rules/proposals/{id}",
            sized(get(proposals::show).delete(proposals::withdraw), SMALL_BODY),
        )
        .route(
            "/api/v1/rules/proposals/{id}/approve",
            sized(post(proposals::approve), SMALL_BODY),
        )
        .route(
            "/api/v1/rules/proposals/{id}/reject",
            sized(post(proposals::reject), SMALL_BODY),
        )
        .route(
            "/api/v1/rules/{file}",
            put(rules::put).merge(delete(rules::delete)),
        )
        .route("/api/v1/quarantine", get(quarantine::list_quarantine))
        .route("/api/v1/quarantine/counts", get(quarantine::counts))
        .route("/api/v1/quarantine/readmit", post(readmit::readmit_many))
        .route("/api/v1/quarantine/discard", post(readmit::discard_many))
        .route("/api/v1/quarantine/{id}", get(quarantine::show))
        .route("/api/v1/quarantine/{id}/readmit", post(readmit::readmit_one))
        .route("/api/v1/quarantine/{id}/discard", post(readmit::discard_one))
        .route("/api/v1/digest", get(system::digest))
        .route("/api/v1/history/stat", get(history::stat))
        .route("/api/v1/history/verify", get(history::verify))
        .route("/api/v1/backup", get(history::backup_state).post(history::backup))
        .route("/api/v1/geocode", get(geocode::one).post(geocode::many))
        .route("/api/v1/geocode/suggest", get(geocode::suggest))
        .route("/api/v1/reverse", get(geocode::reverse))
        .route("/api/v1/entities", post(entities::post))
        .route("/api/v1/entities/batch", post(entities::batch))
        .route("/api/v1/entities/export", get(entity_export::export))
        .route(
            "/api/v1/entities/import",
            post(entity_import::post).layer(DefaultBodyLimit::disable()),
        )
        .route("/api/v1/entities/recode", post(recode::post))
        .route("/api/v1/persons", sized(post(persons::post), SMALL_BODY))
        .route(
            "/api/v1/persons/resolve",
            sized(post(persons::resolve), SMALL_BODY),
        )
        .route("/api/v1/persons/resolutions", get(persons::resolutions))
        .route("/api/v1/persons/counts", get(persons::counts::show))
        .route(
            "/api/v1/persons/key",
            get(persons::keys::show).post(persons::keys::rotate),
        )
        .route("/api/v1/entities/{code}", get(entities::show))
        .route("/api/v1/fences", get(fences::list_fences))
        .route("/api/v1/fences/events", get(fences::events::list_events))
        .route(
            "/api/v1/fences/{code}",
            get(fences::show)
                .put(fences::change::put)
                .merge(delete(fences::change::delete)),
        )
        .route(
            "/api/v1/forecasts",
            sized(get(forecasts::newest).post(forecasts::post), forecasts::MAX_BODY),
        )
        .route("/api/v1/forecasters", get(forecasts::forecasters))
        .route("/api/v1/forecasts/{series}", get(forecasts::of_series))
        .route("/api/v1/forecasts/{series}/train", post(forecasts::train))
        .route("/api/v1/skill", get(skill::show))
        .route("/api/v1/within", get(map::within::get).post(map::within::post))
        .route("/api/v1/nearest", get(map::nearest::get))
        .route("/api/v1/column", get(map::column::get))
        .route("/api/v1/section", get(map::section::get))
        .route("/api/v1/live", get(push::live::live))
        .route("/feeds/alerts", get(push::feed::alerts))
        .route("/feeds/cap.atom", get(warnings::feed::atom))
        .route("/feeds/cap/{file}", get(warnings::feed::document))
        .route("/tiles/{layer}/{z}/{x}/{y}", get(map::tiles::tile))
        .route("/tiles/{file}", get(map::tiles::tilejson))
        .route("/api/v1/basemaps", get(basemap::list))
        .route("/basemaps/{name}/{z}/{x}/{y}", get(basemap::tile))
        .merge(prometheus::routes())
        .merge(ogc::routes());
    let open = Router::new()
        .route("/api/v1/session", sized(post(session::begin), SMALL_BODY))
        .route("/api/v1/session/ways", get(oidc::ways))
        .route(
            "/api/v1/session/oidc",
            sized(get(oidc::begin).post(oidc::finish), SMALL_BODY),
        )
        .route("/api/v1/session/oidc/callback", get(oidc::callback))
        .route("/api/v1/setup", sized(post(setup::finish), SMALL_BODY))
        .route("/api/v1/setup/look", sized(post(setup::look), SMALL_BODY))
        .route(
            "/api/v1/{token}/rpc",
            sized(get(fetched::fetch).post(fetched::ask), device_http::MAX_BODY),
        )
        .route(
            "/api/v1/{token}/rpc/{id}",
            sized(post(fetched::answer), device_http::MAX_BODY),
        )
        .route(
            "/api/v1/provision",
            sized(post(provisioning::provision), SMALL_BODY),
        )
        .route("/api/openapi.json", get(openapi::document))
        .route(
            "/push/{source}",
            sized(get(api::push::verify).post(api::push::post), api::push::MAX_BODY),
        )
        .route("/api/v2/write", sized(post(write::v2), write::MAX_BODY))
        .route("/write", sized(post(write::v1), write::MAX_BODY))
        .route("/query", sized(get(write::query).post(write::query), SMALL_BODY))
        .route("/ping", get(write::ping).post(write::ping))
        .route("/health", get(write::health))
        .route(
            "/api/v1/{token}/telemetry",
            sized(post(device_http::telemetry), device_http::MAX_BODY),
        )
        .route(
            "/api/v1/{token}/attributes",
            sized(
                get(device_http::attributes).post(device_http::post_attributes),
                device_http::MAX_BODY,
            ),
        )
        .route(
            "/api/v1/{token}/claim",
            sized(post(device_http::claim), device_http::MAX_BODY),
        )
        .route("/health/live", get(system::live))
        .route("/health/ready", get(system::ready))
        .route("/metrics", get(system::metrics));
    let bounds = Bounds::new(limits, views.http.clone());
    let gate = Arc::new(access::Gate {
        views: views.clone(),
        shared: shares::Shared::new(limits.shares, views.http.clone()),
        scraper,
    });
    scoped
        .merge(open)
        .route_layer(middleware::from_fn_with_state(gate, access::gate))
        .fallback(fallback)
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(middleware::from_fn(error::of_router))
        .layer(middleware::from_fn_with_state(bounds, limits::bound))
        .layer(Extension(hub))
        .layer(Extension(stop))
        .layer(Extension(Arc::new(self::accounts::Door::default())))
        .layer(Extension(oidc::Oidc::new(provider)))
        .layer(Extension(ogc::Matched::default()))
        .layer(Extension(api::rows::Turns::default()))
        .layer(Extension(prometheus::Turns::default()))
        .layer(middleware::from_fn(secure))
        .with_state(views)
}

/// A route whose bodies have a limit of their own.
fn sized(route: MethodRouter<Arc<Views>>, max_bytes: usize) -> MethodRouter<Arc<Views>> {
    route.layer(DefaultBodyLimit::max(max_bytes))
}

async fn fallback(uri: axum::http::Uri, headers: axum::http::HeaderMap) -> Response {
    use axum::response::IntoResponse;
    let path = uri.path();
    if [
        "/push/",
        "/api/",
        "/feeds/",
        "/tiles/",
        "/basemaps/",
        "/health/",
        "/prometheus/",
        "/ogc",
    ]
    .iter()
    .any(|p| path.starts_with(p))
    {
        return error::Problem::not_found("unknown_path", format!("nothing answers at {path}"))
            .into_response();
    }
    screen::file(uri, headers).await
}

/// Headers that every answer carries.
async fn secure(request: Request, next: Next) -> Response {
    let over = auth::Over::of(request.extensions());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if over == auth::Over::Tls {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    // A page that stands by itself says a narrower one.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(screen::CSP));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        "permissions-policy",
        HeaderValue::from_static("geolocation=(), camera=(), microphone=()"),
    );
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Serves in the clear, and over TLS where there is such a listener, until `stop`; then streams end and open requests are
/// answered. Both have the connections of `limits` together.
pub async fn serve(
    listener: TcpListener,
    secured: Option<(TcpListener, Certificates)>,
    router: Router,
    limits: Limits,
    gauges: Arc<Gauges>,
    stop: CancellationToken,
) {
    let bounds = Bounds::new(limits, gauges);
    let secured = async {
        if let Some((listener, certificates)) = secured {
            limits::serve(
                listener,
                Some(certificates),
                router.clone(),
                bounds.clone(),
                stop.clone(),
            )
            .await;
        }
    };
    let clear = limits::serve(listener, None, router.clone(), bounds.clone(), stop.clone());
    tokio::join!(clear, secured);
}
