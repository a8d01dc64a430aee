//! Who may ask what: one table of routes, and the one gate that every request passes.
//!
//! Deny by default: what does not stand in the table is nobody's, whoever routed it. The table says which roles may ask;
//! which things they see by this is for the handlers, which filter by the [`Scope`](onemap_model::Scope)'s division.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use onemap_model::scope::{Permission as P, Role};
use onemap_store::ledger::TokenHash;

use crate::auth::{self, Entered, Shown};
use crate::error::Problem;
use crate::prometheus::{Fault, FaultKind};
use crate::security::{Kind, What};
use crate::shares::{Shared, Weight};
use crate::views::Views;

/// What a route needs of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nobody need be known: health, the way in, the description of the API.
    Open,
    /// A credential of a device, a source or another program's dialect, which its handler reads.
    Own,
    /// A token or session of any role: what concerns the caller alone.
    Known,
    /// A token or session whose role holds one of these.
    Any(&'static [P]),
}

/// Where the counters stand; who asks by the token that is for them alone is let in.
const METRICS: &str = "/metrics";

/// Where warnings are published: open to everybody where they are configured to be public.
const FEED: &str = "/feeds/cap.atom";
const MESSAGE: &str = "/feeds/cap/{file}";

/// Where a link is looked at, and at the address itself used.
const SETUP: &str = "/api/v1/setup";

/// Who makes accounts, and who keeps the security of those that are there.
const KEEPER: Need = Need::Any(&[P::Tokens, P::Security]);

/// Who sees to consumers of alerts: desks, who sets them up, who looks for receipts.
const FEEDS: Need = Need::Any(&[P::ShelveAlerts, P::Rules, P::Audit]);

/// Whether a scope may see what consumers of alerts did not take: it may ask for it, and is of the whole city.
pub(crate) fn sees_feeds(scope: &onemap_model::Scope) -> bool {
    let may = |needs: &[P]| needs.iter().any(|need| scope.may(*need));
    scope.is_whole() && matches!(FEEDS, Need::Any(needs) if may(needs))
}

/// Method, route and what it needs. A `GET` is a `HEAD`, too.
#[rustfmt::skip]
const TABLE: &[(&str, &str, Need)] = &[
    // People, tokens and sessions.
    ("GET", "/api/v1/session", Need::Known),
    ("POST", "/api/v1/session", Need::Open),
    ("DELETE", "/api/v1/session", Need::Known),
    ("POST", "/api/v1/session/password", Need::Known),
    ("GET", "/api/v1/session/ways", Need::Open),
    ("GET", "/api/v1/session/oidc", Need::Open),
    ("POST", "/api/v1/session/oidc", Need::Open),
    ("GET", "/api/v1/session/oidc/callback", Need::Open),
    ("POST", SETUP, Need::Open),
    ("POST", "/api/v1/setup/look", Need::Open),
    ("GET", "/api/v1/accounts", KEEPER),
    ("POST", "/api/v1/accounts", Need::Any(&[P::Tokens])),
    ("GET", "/api/v1/accounts/{id}", KEEPER),
    ("PATCH", "/api/v1/accounts/{id}", KEEPER),
    ("DELETE", "/api/v1/accounts/{id}", Need::Any(&[P::Tokens])),
    ("POST", "/api/v1/accounts/{id}/link", Need::Any(&[P::Tokens])),
    ("PUT", "/api/v1/accounts/{id}/subject", Need::Any(&[P::Tokens])),
    ("DELETE", "/api/v1/accounts/{id}/subject", Need::Any(&[P::Tokens])),
    ("POST", "/api/v1/accounts/{id}/logout", KEEPER),
    ("GET", "/api/v1/tokens", KEEPER),
    ("POST", "/api/v1/tokens", Need::Any(&[P::Tokens])),
    ("DELETE", "/api/v1/tokens/{id}", KEEPER),
    // The server itself.
    ("GET", "/api/v1/system", Need::Any(&[P::View])),
    ("GET", "/api/v1/security/events", Need::Any(&[P::Security, P::Audit])),
    ("GET", "/api/v1/digest", Need::Any(&[P::Audit])),
    ("GET", "/api/v1/history/stat", Need::Any(&[P::Audit])),
    ("GET", "/api/v1/history/verify", Need::Any(&[P::Audit])),
    ("GET", "/api/v1/backup", Need::Any(&[P::Backup])),
    ("POST", "/api/v1/backup", Need::Any(&[P::Backup])),
    ("GET", "/api/openapi.json", Need::Open),
    ("GET", "/health", Need::Open),
    ("GET", "/health/live", Need::Open),
    ("GET", "/health/ready", Need::Open),
    ("GET", METRICS, Need::Any(&[P::View])),
    ("GET", "/ping", Need::Open),
    ("POST", "/ping", Need::Open),
    // Devices, profiles, rules.
    ("GET", "/api/v1/devices", Need::Any(&[P::View])),
    ("POST", "/api/v1/devices", Need::Any(&[P::Register])),
    ("GET", "/api/v1/devices/summary", Need::Any(&[P::View])),
    ("POST", "/api/v1/devices/import", Need::Any(&[P::Register])),
    ("GET", "/api/v1/devices/{id}", Need::Any(&[P::View])),
    ("PATCH", "/api/v1/devices/{id}", Need::Any(&[P::Register])),
    ("GET", "/api/v1/devices/{id}/frames", Need::Any(&[P::View])),
    ("GET", "/api/v1/devices/{id}/attributes", Need::Any(&[P::View])),
    ("PUT", "/api/v1/devices/{id}/attributes", Need::Any(&[P::Register])),
    ("PATCH", "/api/v1/devices/{id}/attributes", Need::Any(&[P::Register])),
    ("DELETE", "/api/v1/devices/{id}/attributes", Need::Any(&[P::Register])),
    ("GET", "/api/v1/devices/{id}/hydrology", Need::Any(&[P::View])),
    ("PUT", "/api/v1/devices/{id}/hydrology", Need::Any(&[P::Register])),
    ("DELETE", "/api/v1/devices/{id}/hydrology", Need::Any(&[P::Register])),
    ("POST", "/api/v1/devices/{id}/token", Need::Any(&[P::Register])),
    ("DELETE", "/api/v1/devices/{id}/token", Need::Any(&[P::Register])),
    ("POST", "/api/v1/devices/{id}/maintenance", Need::Any(&[P::Register])),
    ("POST", "/api/v1/devices/{id}/retire", Need::Any(&[P::Register])),
    ("POST", "/api/v1/devices/{id}/activate", Need::Any(&[P::Register])),
    ("POST", "/api/v1/hydrology/import", Need::Any(&[P::Register])),
    ("GET", "/api/v1/quantities", Need::Any(&[P::View])),
    ("GET", "/api/v1/profiles", Need::Any(&[P::View])),
    ("PUT", "/api/v1/profiles/{id}", Need::Any(&[P::Register])),
    ("GET", "/api/v1/profiles/{id}/provisioning", Need::Any(&[P::Register])),
    ("POST", "/api/v1/profiles/{id}/provisioning", Need::Any(&[P::Register])),
    ("DELETE", "/api/v1/profiles/{id}/provisioning", Need::Any(&[P::Register])),
    ("GET", "/api/v1/rules", Need::Any(&[P::View])),
    ("GET", "/api/v1/rules/proposals", Need::Any(&[P::Rules])),
    ("GET", "/api/v1/rules/proposals/{id}", Need::Any(&[P::Rules])),
    ("DELETE", "/api/v1/rules/proposals/{id}", Need::Any(&[P::Rules])),
    ("POST", "/api/v1/rules/proposals/{id}/approve", Need::Any(&[P::Rules])),
    ("POST", "/api/v1/rules/proposals/{id}/reject", Need::Any(&[P::Rules])),
    ("PUT", "/api/v1/rules/{file}", Need::Any(&[P::Rules])),
    ("DELETE", "/api/v1/rules/{file}", Need::Any(&[P::Rules])),
    // Readings and what they mean.
    ("POST", "/api/v1/readings", Need::Any(&[P::WriteReadings])),
    ("POST", "/api/v1/readings/import", Need::Any(&[P::WriteReadings])),
    ("GET", "/api/v1/latest", Need::Any(&[P::View])),
    ("GET", "/api/v1/series", Need::Any(&[P::View])),
    ("GET", "/api/v1/series/{id}/values", Need::Any(&[P::View])),
    ("GET", "/api/v1/aggregate", Need::Any(&[P::View])),
    ("GET", "/api/v1/export", Need::Any(&[P::View])),
    ("GET", "/api/v1/ledger", Need::Any(&[P::View])),
    ("GET", "/api/v1/standards/air", Need::Any(&[P::View])),
    ("GET", "/api/v1/standards/noise", Need::Any(&[P::View])),
    ("GET", "/api/v1/standards/rain", Need::Any(&[P::View])),
    ("GET", "/api/v1/standards/stage", Need::Any(&[P::View])),
    ("GET", "/api/v1/standards/water", Need::Any(&[P::View])),
    ("GET", "/api/v1/reviews", Need::Any(&[P::View])),
    ("POST", "/api/v1/reviews", Need::Any(&[P::Review])),
    ("GET", "/api/v1/corrections", Need::Any(&[P::View])),
    ("POST", "/api/v1/corrections", Need::Any(&[P::Register])),
    ("POST", "/api/v1/corrections/{id}/withdraw", Need::Any(&[P::Register])),
    ("GET", "/api/v1/dust", Need::Any(&[P::View])),
    ("POST", "/api/v1/dust", Need::Any(&[P::Review])),
    ("POST", "/api/v1/dust/{id}/withdraw", Need::Any(&[P::Review])),
    // Alerts, commands, quarantine.
    ("GET", "/api/v1/alerts", Need::Any(&[P::View])),
    ("GET", "/api/v1/alerts/cards", Need::Any(&[P::View])),
    ("GET", "/api/v1/alerts/cards/{id}", Need::Any(&[P::View])),
    ("GET", "/api/v1/alerts/load", Need::Any(&[P::View])),
    ("GET", "/api/v1/alerts/{id}", Need::Any(&[P::View])),
    ("GET", "/api/v1/alerts/{id}/explain", Need::Any(&[P::View])),
    ("GET", "/api/v1/why", Need::Any(&[P::View])),
    ("GET", "/api/v1/duty", Need::Any(&[P::View])),
    ("PUT", "/api/v1/duty/{desk}", Need::Any(&[P::Duty])),
    ("DELETE", "/api/v1/duty/{desk}", Need::Any(&[P::Duty])),
    ("GET", "/api/v1/drills", Need::Any(&[P::View])),
    ("PUT", "/api/v1/drills/{drill}", Need::Any(&[P::Duty])),
    ("DELETE", "/api/v1/drills/{drill}", Need::Any(&[P::Duty])),
    ("GET", "/api/v1/duty/{desk}/log", Need::Any(&[P::View])),
    ("POST", "/api/v1/duty/{desk}/log", Need::Any(&[P::HandleAlerts])),
    ("POST", "/api/v1/duty/{desk}/handover", Need::Any(&[P::HandleAlerts])),
    ("POST", "/api/v1/duty/{desk}/takeover", Need::Any(&[P::HandleAlerts])),
    ("GET", "/api/v1/reports/daily", Need::Any(&[P::View])),
    ("GET", "/api/v1/reports/monthly", Need::Any(&[P::View])),
    ("POST", "/api/v1/alerts/{id}/ack", Need::Any(&[P::HandleAlerts])),
    ("POST", "/api/v1/alerts/{id}/assign", Need::Any(&[P::HandleAlerts])),
    (
        "POST",
        "/api/v1/alerts/{id}/shelve",
        Need::Any(&[P::ShelveAlerts]),
    ),
    (
        "POST",
        "/api/v1/alerts/{id}/unshelve",
        Need::Any(&[P::ShelveAlerts]),
    ),
    ("POST", "/api/v1/alerts/{id}/close", Need::Any(&[P::HandleAlerts])),
    ("GET", "/api/v1/alerts/{id}/evidence", Need::Any(&[P::Evidence])),
    ("POST", "/api/v1/alerts/{id}/warning", Need::Any(&[P::HandleAlerts])),
    // Statutory warnings, our own and those of others.
    ("GET", "/api/v1/warnings", Need::Any(&[P::View])),
    ("POST", "/api/v1/warnings", Need::Any(&[P::HandleAlerts])),
    ("GET", "/api/v1/warnings/received", Need::Any(&[P::View])),
    ("POST", "/api/v1/warnings/received", Need::Any(&[P::ExchangeWarnings])),
    ("GET", "/api/v1/warnings/received.geojson", Need::Any(&[P::View])),
    ("GET", "/api/v1/warnings/score", Need::Any(&[P::View])),
    ("GET", "/api/v1/warnings/{id}", Need::Any(&[P::View])),
    ("PUT", "/api/v1/warnings/{id}", Need::Any(&[P::HandleAlerts])),
    ("DELETE", "/api/v1/warnings/{id}", Need::Any(&[P::HandleAlerts])),
    ("POST", "/api/v1/warnings/{id}/approve", Need::Any(&[P::ApproveWarnings])),
    ("POST", "/api/v1/warnings/{id}/reject", Need::Any(&[P::ApproveWarnings])),
    ("POST", "/api/v1/warnings/{id}/update", Need::Any(&[P::HandleAlerts])),
    ("POST", "/api/v1/warnings/{id}/cancel", Need::Any(&[P::HandleAlerts])),
    ("GET", "/api/v1/feeds", FEEDS),
    ("GET", "/api/v1/feeds/{name}/receipts", FEEDS),
    ("GET", "/api/v1/feeds/{name}/set-aside", FEEDS),
    ("POST", "/api/v1/feeds/{name}/set-aside/{id}/retry", Need::Any(&[P::Rules])),
    ("GET", "/api/v1/commands", Need::Any(&[P::View])),
    ("POST", "/api/v1/commands", Need::Any(&[P::Command])),
    ("GET", "/api/v1/commands/{id}", Need::Any(&[P::View])),
    ("POST", "/api/v1/commands/{id}/cancel", Need::Any(&[P::Command])),
    ("POST", "/api/rpc/oneway/{device}", Need::Any(&[P::Command])),
    ("POST", "/api/rpc/twoway/{device}", Need::Any(&[P::Command])),
    ("GET", "/api/v1/quarantine", Need::Any(&[P::Quarantine])),
    ("GET", "/api/v1/quarantine/counts", Need::Any(&[P::Quarantine])),
    ("POST", "/api/v1/quarantine/readmit", Need::Any(&[P::Quarantine])),
    ("POST", "/api/v1/quarantine/discard", Need::Any(&[P::Quarantine])),
    ("GET", "/api/v1/quarantine/{id}", Need::Any(&[P::Quarantine])),
    ("POST", "/api/v1/quarantine/{id}/readmit", Need::Any(&[P::Quarantine])),
    ("POST", "/api/v1/quarantine/{id}/discard", Need::Any(&[P::Quarantine])),
    // The map.
    ("POST", "/api/v1/entities", Need::Any(&[P::Register])),
    ("POST", "/api/v1/entities/batch", Need::Any(&[P::Register])),
    ("GET", "/api/v1/entities/export", Need::Any(&[P::View])),
    ("POST", "/api/v1/entities/import", Need::Any(&[P::Register])),
    ("POST", "/api/v1/entities/recode", Need::Any(&[P::Register])),
    ("GET", "/api/v1/entities/{code}", Need::Any(&[P::View])),
    ("POST", "/api/v1/persons", Need::Any(&[P::Register])),
    ("POST", "/api/v1/persons/resolve", Need::Any(&[P::Persons])),
    ("GET", "/api/v1/persons/resolutions", Need::Any(&[P::Audit])),
    ("GET", "/api/v1/persons/counts", Need::Any(&[P::View])),
    ("GET", "/api/v1/persons/key", Need::Any(&[P::Security])),
    ("POST", "/api/v1/persons/key", Need::Any(&[P::Security])),
    ("GET", "/api/v1/fences", Need::Any(&[P::View])),
    ("GET", "/api/v1/fences/events", Need::Any(&[P::View])),
    ("GET", "/api/v1/fences/{code}", Need::Any(&[P::View])),
    ("PUT", "/api/v1/fences/{code}", Need::Any(&[P::Register])),
    ("DELETE", "/api/v1/fences/{code}", Need::Any(&[P::Register])),
    ("GET", "/api/v1/forecasters", Need::Any(&[P::View])),
    ("GET", "/api/v1/forecasts", Need::Any(&[P::View])),
    ("POST", "/api/v1/forecasts", Need::Any(&[P::WriteReadings])),
    ("GET", "/api/v1/forecasts/{series}", Need::Any(&[P::View])),
    ("POST", "/api/v1/forecasts/{series}/train", Need::Any(&[P::Rules])),
    ("GET", "/api/v1/skill", Need::Any(&[P::View])),
    ("GET", "/api/v1/geocode", Need::Any(&[P::View])),
    ("POST", "/api/v1/geocode", Need::Any(&[P::View])),
    ("GET", "/api/v1/geocode/suggest", Need::Any(&[P::View])),
    ("GET", "/api/v1/reverse", Need::Any(&[P::View])),
    ("GET", "/api/v1/within", Need::Any(&[P::View])),
    ("POST", "/api/v1/within", Need::Any(&[P::View])),
    ("GET", "/api/v1/nearest", Need::Any(&[P::View])),
    ("GET", "/api/v1/column", Need::Any(&[P::View])),
    ("GET", "/api/v1/section", Need::Any(&[P::View])),
    ("GET", "/tiles/{layer}/{z}/{x}/{y}", Need::Any(&[P::View])),
    ("GET", "/tiles/{file}", Need::Any(&[P::View])),
    ("GET", "/api/v1/basemaps", Need::Any(&[P::View])),
    ("GET", "/basemaps/{name}/{z}/{x}/{y}", Need::Any(&[P::View])),
    ("GET", "/ogc", Need::Any(&[P::View])),
    ("GET", "/ogc/", Need::Any(&[P::View])),
    ("GET", "/ogc/conformance", Need::Any(&[P::View])),
    ("GET", "/ogc/api", Need::Any(&[P::View])),
    ("GET", "/ogc/collections", Need::Any(&[P::View])),
    ("GET", "/ogc/collections/{id}", Need::Any(&[P::View])),
    ("GET", "/ogc/collections/{id}/queryables", Need::Any(&[P::View])),
    ("GET", "/ogc/collections/{id}/items", Need::Any(&[P::View])),
    ("GET", "/ogc/collections/{id}/items/{feature}", Need::Any(&[P::View])),
    // Streams.
    ("GET", "/api/v1/live", Need::Any(&[P::View])),
    ("GET", "/feeds/alerts", Need::Any(&[P::View])),
    ("GET", FEED, Need::Any(&[P::View])),
    ("GET", MESSAGE, Need::Any(&[P::View])),
    // Readings in Prometheus's words.
    ("GET", "/prometheus/api/v1/query", Need::Any(&[P::View])),
    ("POST", "/prometheus/api/v1/query", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/query_range", Need::Any(&[P::View])),
    ("POST", "/prometheus/api/v1/query_range", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/query_exemplars", Need::Any(&[P::View])),
    ("POST", "/prometheus/api/v1/query_exemplars", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/format_query", Need::Any(&[P::View])),
    ("POST", "/prometheus/api/v1/format_query", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/series", Need::Any(&[P::View])),
    ("POST", "/prometheus/api/v1/series", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/labels", Need::Any(&[P::View])),
    ("POST", "/prometheus/api/v1/labels", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/label/{name}/values", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/metadata", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/rules", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/alerts", Need::Any(&[P::View])),
    ("GET", "/prometheus/api/v1/status/buildinfo", Need::Any(&[P::View])),
    // Devices, and servers that push.
    ("GET", "/api/v1/{token}/rpc", Need::Own),
    ("POST", "/api/v1/{token}/rpc", Need::Own),
    ("POST", "/api/v1/{token}/rpc/{id}", Need::Own),
    ("POST", "/api/v1/{token}/telemetry", Need::Own),
    ("GET", "/api/v1/{token}/attributes", Need::Own),
    ("POST", "/api/v1/{token}/attributes", Need::Own),
    ("POST", "/api/v1/{token}/claim", Need::Own),
    ("POST", "/api/v1/provision", Need::Own),
    ("GET", "/push/{source}", Need::Own),
    ("POST", "/push/{source}", Need::Own),
    ("POST", "/api/v2/write", Need::Own),
    ("POST", "/write", Need::Own),
    ("GET", "/query", Need::Own),
    ("POST", "/query", Need::Own),
];

/// Requests that change who may come in: what succeeds is a security event.
const OF_TRUST: &[(&str, &str)] = &[
    ("POST", "/api/v1/session/password"),
    ("POST", SETUP),
    ("POST", "/api/v1/accounts"),
    ("PATCH", "/api/v1/accounts/{id}"),
    ("DELETE", "/api/v1/accounts/{id}"),
    ("POST", "/api/v1/accounts/{id}/link"),
    ("PUT", "/api/v1/accounts/{id}/subject"),
    ("DELETE", "/api/v1/accounts/{id}/subject"),
    ("POST", "/api/v1/accounts/{id}/logout"),
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens/{id}"),
    ("POST", "/api/v1/devices"),
    ("POST", "/api/v1/devices/import"),
    ("POST", "/api/v1/devices/{id}/token"),
    ("DELETE", "/api/v1/devices/{id}/token"),
    ("POST", "/api/v1/devices/{id}/retire"),
    ("POST", "/api/v1/devices/{id}/activate"),
    ("POST", "/api/v1/profiles/{id}/provisioning"),
    ("DELETE", "/api/v1/profiles/{id}/provisioning"),
    ("POST", "/api/v1/persons/key"),
];

/// What the table says of a method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    method: &'static str,
    need: Need,
    weight: Weight,
    /// It changes who may come in.
    is_of_trust: bool,
}

/// What the table says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// The route takes this.
    Row(Row),
    /// The route stands in the table, but not with this method.
    OtherMethods(&'static [Row]),
    /// The route does not stand in the table.
    Nothing,
}

static BY_ROUTE: LazyLock<HashMap<&'static str, &'static [Row]>> = LazyLock::new(|| {
    let mut by_route: HashMap<&str, Vec<Row>> = HashMap::new();
    for (method, route, need) in TABLE {
        let row = Row {
            method,
            need: *need,
            weight: Weight::of(method, route),
            is_of_trust: OF_TRUST.contains(&(*method, *route)),
        };
        by_route.entry(route).or_default().push(row);
    }
    let fixed = |(route, methods): (_, Vec<_>)| (route, &*methods.leak());
    by_route.into_iter().map(fixed).collect()
});

/// Method and route of everything that the table knows.
#[cfg(test)]
pub(crate) fn routes() -> impl Iterator<Item = (String, &'static str)> {
    TABLE
        .iter()
        .map(|(method, route, _)| ((*method).to_owned(), *route))
}

fn said_of(method: &Method, route: &str) -> Said {
    let Some(methods) = BY_ROUTE.get(route) else {
        return Said::Nothing;
    };
    let asked = match *method {
        Method::HEAD => "GET",
        _ => method.as_str(),
    };
    match methods.iter().find(|row| row.method == asked) {
        Some(row) => Said::Row(*row),
        None => Said::OtherMethods(methods),
    }
}

/// Whether a role may; where not, the text that says so.
fn may(role: Role, need: Need) -> Result<(), String> {
    let Need::Any(permissions) = need else {
        return Ok(());
    };
    if permissions.iter().any(|permission| role.may(*permission)) {
        return Ok(());
    }
    let names: Vec<_> = permissions.iter().map(|permission| permission.name()).collect();
    let names = names.join(" or ");
    Err(format!(
        "the role {} does not hold the permission {names}",
        role.name()
    ))
}

/// What the gate asks.
pub(crate) struct Gate {
    pub(crate) views: Arc<Views>,
    pub(crate) shared: Shared,
    /// The token that opens the counters alone.
    pub(crate) scraper: Option<TokenHash>,
}

impl Gate {
    /// Takes one of what the address may ask that a request came from.
    fn of_address(&self, request: &Request) -> Result<(), Problem> {
        match request.extensions().get::<ConnectInfo<SocketAddr>>() {
            Some(ConnectInfo(peer)) => self.shared.of_address(peer.ip()),
            None => Ok(()),
        }
    }

    /// Notes what came of a request.
    fn note(&self, kind: Kind, actor: Option<&str>, asked: &Asked, detail: &str) {
        let what = What {
            kind,
            actor: actor.map(str::to_owned),
            peer: asked.peer.map(|peer| peer.to_canonical().to_string()),
            subject: asked.subject(),
            detail: detail.to_owned(),
        };
        self.views.security.note(self.views.now(), what);
    }

    /// What asks nobody who he is, or shows a credential that its handler reads.
    async fn without_scope(&self, need: Need, asked: &Asked, request: Request, next: Next) -> Response {
        if let Err(problem) = self.of_address(&request) {
            self.note(Kind::Limited, None, asked, problem.detail());
            return problem.into_response();
        }
        let response = next.run(request).await;
        if let Some(Entered { actor, by }) = response.extensions().get() {
            self.note(Kind::Login, Some(actor), asked, by);
        }
        let told = match (need, response.status()) {
            (Need::Own, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Some((Kind::WrongToken, "what it showed lets nobody in"))
            }
            (Need::Open, StatusCode::NOT_FOUND) if asked.route().starts_with(SETUP) => {
                Some((Kind::WrongToken, "a link that opens nothing"))
            }
            (Need::Open, status) if asked.route() == SETUP && status.is_success() => {
                Some((Kind::Changed, "by a link"))
            }
            _ => None,
        };
        if let Some((kind, detail)) = told {
            self.note(kind, None, asked, detail);
        }
        response
    }

    /// Whether a route is open because warnings are public here.
    fn is_public(&self, route: &str) -> bool {
        matches!(route, FEED | MESSAGE) && self.views.warnings.settings.public
    }

    /// Whether a request for the counters shows the token that is for them alone.
    fn is_scraper(&self, route: &str, request: &Request) -> bool {
        let Some(scraper) = self.scraper.as_ref().filter(|_| route == METRICS) else {
            return false;
        };
        let shown = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = shown.and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| TokenHash::of(token.trim()) == *scraper)
    }
}

/// What an event says of a request: never what stands behind a `?`.
struct Asked {
    method: Method,
    uri: Uri,
    route: Option<MatchedPath>,
    peer: Option<IpAddr>,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            peer: peer.map(|ConnectInfo(peer)| peer.ip()),
        }
    }

    /// As the table has it; empty where no handler is.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("", MatchedPath::as_str)
    }

    /// Method and path; a token in the path stays out.
    fn subject(&self) -> String {
        let route = self.route();
        let path = if route.contains("{token}") {
            route
        } else {
            self.uri.path()
        };
        format!("{} {path}", self.method)
    }
}

/// Lets through what the table allows, with the caller's scope in the request, and as much of it as the caller's share
/// has left.
pub(crate) async fn gate(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    let said = said_of(request.method(), asked.route());
    let row = match said {
        Said::Row(row) => Some(row),
        Said::OtherMethods(methods) if methods.iter().all(|row| is_without_scope(row.need)) => {
            return other_methods(methods);
        }
        Said::OtherMethods(_) | Said::Nothing => None,
    };
    let need = match row {
        Some(_) if gate.is_public(asked.route()) => Need::Open,
        row => row.map_or(Need::Known, |row| row.need),
    };
    if is_without_scope(need) || gate.is_scraper(asked.route(), &request) {
        return gate.without_scope(need, &asked, request, next).await;
    }
    let (scope, pass) = match auth::caller_of(&gate.views, &request) {
        Ok(found) => found,
        Err(problem) => {
            match auth::shown(&gate.views, &request) {
                _ if problem.status() == StatusCode::FORBIDDEN => {
                    gate.note(Kind::Denied, None, &asked, problem.detail());
                }
                Shown::Nothing => {}
                Shown::Gone(gone) => {
                    let why = auth::why_gone(&gone);
                    gate.note(Kind::WrongToken, Some(&gone.name), &asked, why);
                }
                Shown::Unknown(what) => gate.note(Kind::WrongToken, None, &asked, what),
            }
            // Who guesses has the share of his address.
            return gate.of_address(&request).err().unwrap_or(problem).into_response();
        }
    };
    if let Err(problem) = gate.shared.of_pass(pass) {
        gate.note(Kind::Limited, Some(&scope.actor), &asked, problem.detail());
        return problem.into_response();
    }
    let row = match said {
        Said::Row(row) => row,
        Said::OtherMethods(methods) => return other_methods(methods),
        Said::Nothing => {
            gate.note(Kind::Denied, Some(&scope.actor), &asked, "nobody may ask this");
            return Problem::forbidden("nobody may ask this").into_response();
        }
    };
    if let Err(text) = may(scope.role, need) {
        gate.note(Kind::Denied, Some(&scope.actor), &asked, &text);
        return denied(request.uri().path(), text);
    }
    let heavy = row.weight.heavy(request.uri());
    let place = match heavy.map(|heavy| gate.shared.heavy(pass, heavy)).transpose() {
        Ok(place) => place,
        Err(problem) => {
            gate.note(Kind::Limited, Some(&scope.actor), &asked, problem.detail());
            return problem.into_response();
        }
    };
    let actor = scope.actor.clone();
    request.extensions_mut().insert(scope);
    request.extensions_mut().insert(pass);
    let response = next.run(request).await;
    let status = response.status();
    if status == StatusCode::FORBIDDEN {
        let why = "it is not the caller's to see or do";
        gate.note(Kind::Denied, Some(&actor), &asked, why);
    } else if row.is_of_trust && status.is_success() {
        gate.note(Kind::Changed, Some(&actor), &asked, status.as_str());
    }
    match place {
        None => response,
        Some(place) => place.until_taken(response),
    }
}

fn is_without_scope(need: Need) -> bool {
    matches!(need, Need::Open | Need::Own)
}

/// 405 with the methods that the table knows; the body is the router's.
fn other_methods(methods: &[Row]) -> Response {
    let mut names: Vec<_> = methods.iter().map(|row| row.method).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
    if let Ok(names) = HeaderValue::from_str(&names.join(",")) {
        response.headers_mut().insert(header::ALLOW, names);
    }
    response
}

/// 403 in the shape that the path's clients read.
fn denied(path: &str, text: String) -> Response {
    match path.starts_with("/prometheus/") {
        true => Fault::new(FaultKind::Forbidden, text).into_response(),
        false => Problem::forbidden(text).into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    /// Method and route of every handler that the sources give to the router.
    fn routed() -> BTreeSet<(String, String)> {
        let sources = [
            include_str!("lib.rs"),
            include_str!("ogc/mod.rs"),
            include_str!("prometheus/mod.rs"),
        ];
        let mut found = BTreeSet::new();
        for call in sources.iter().flat_map(|source| source.split(".route(").skip(1)) {
            let mut depth = 1;
            let whole = call.find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                depth == 0
            });
            let call = &call[..whole.unwrap()];
            let Some(route) = call
                .trim_start()
                .strip_prefix('"')
                .and_then(|rest| rest.split('"').next())
            else {
                continue;
            };
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            for method in ["get", "post", "put", "patch", "delete", "any", "head", "options"] {
                let calls = call.match_indices(&format!("{method}(")).any(|(at, _)| {
                    let before = call[..at].chars().next_back();
                    !before.is_some_and(is_word)
                });
                if calls {
                    found.insert((method.to_uppercase(), route.to_owned()));
                }
            }
        }
        found
    }

    #[test]
    fn every_handler_of_the_router_stands_in_the_table_once_and_no_other() {
        let table: BTreeSet<_> = TABLE
            .iter()
            .map(|(method, route, _)| ((*method).to_owned(), (*route).to_owned()))
            .collect();
        assert_eq!(table.len(), TABLE.len(), "a row stands twice");
        assert_eq!(routed(), table);
        assert!(table.len() > 150, "the sources are read: {}", table.len());
    }

    #[test]
    fn what_changes_trust_stands_in_the_table() {
        for (method, route) in OF_TRUST {
            let method = method.parse().unwrap();
            let said = said_of(&method, route);
            assert!(
                matches!(said, Said::Row(row) if row.is_of_trust),
                "{method} {route}: {said:?}"
            );
        }
        assert!(matches!(
            said_of(&Method::GET, "/api/v1/tokens"),
            Said::Row(row) if !row.is_of_trust
        ));
    }

    #[test]
    fn what_does_not_stand_in_the_table_is_nobodys() {
        assert_eq!(said_of(&Method::GET, "/api/v1/secrets"), Said::Nothing);
        assert!(matches!(
            said_of(&Method::DELETE, "/api/v1/latest"),
            Said::OtherMethods(_)
        ));
        assert_eq!(
            said_of(&Method::HEAD, "/api/v1/latest"),
            said_of(&Method::GET, "/api/v1/latest")
        );
        let permissions: BTreeSet<_> = TABLE
            .iter()
            .filter_map(|(.., need)| match need {
                Need::Any(any) => Some(any.iter().map(|permission| permission.name())),
                _ => None,
            })
            .flatten()
            .collect();
        let all: BTreeSet<_> = P::ALL.iter().map(|permission| permission.name()).collect();
        assert_eq!(permissions, all, "a permission opens nothing");
        assert_eq!(may(Role::Viewer, Need::Any(&[P::View])), Ok(()));
        let text = may(Role::AuditAdmin, KEEPER).unwrap_err();
        assert_eq!(
            text,
            "the role audit_admin does not hold the permission tokens or security"
        );
    }
}
