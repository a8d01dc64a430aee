//! What lies in a region, page by page in the order of kind and code.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use onemap_model::crs::Crs;
use onemap_model::{EntityCode, Scope};
use onemap_spatial::query::{Filter, Region};
use onemap_spatial::{CityView, ThingKind};
use serde_json::Value;

use crate::api::limit_up_to;
use crate::api::map::asked::{Asked, kind_of};
use crate::api::map::features::{Features, id_of, member};
use crate::api::map::{N_AT_ONCE, answered};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Body;
use crate::views::Views;

/// Things of a page that states no limit, and of the largest one.
const N_USUAL: usize = 100;
const N_MOST: usize = 10_000;

struct Within {
    region: Region,
    filter: Filter,
    crs: Crs,
    limit: usize,
    after: Option<(ThingKind, EntityCode)>,
}

impl Within {
    fn read(mut asked: Asked, scope: &Scope, views: &Views) -> Result<Self, Problem> {
        let crs = asked.crs()?;
        let read = Self {
            region: asked.region(crs)?,
            filter: asked.filter(scope, views.now())?,
            crs,
            limit: limit_up_to(N_MOST, asked.whole("limit")?, N_USUAL)?,
            after: asked.text("after")?.map(|key| after(&key)).transpose()?,
        };
        asked.done()?;
        Ok(read)
    }

    fn answer(&self, views: &Views, city: &CityView) -> Vec<u8> {
        let after = self.after.as_ref().map(|(kind, code)| (kind, code));
        let page = city.page(&self.region, &self.filter, after, self.limit);
        let mut head = Vec::new();
        member(&mut head, "numberMatched", &page.n_matched);
        member(&mut head, "numberReturned", &page.things.len());
        let last = page.things.last().filter(|_| page.has_more);
        member(&mut head, "next", &last.map(id_of));
        let mut features = Features::new(views, self.crs, &head);
        features.extend(&page.things, |_, _| {});
        features.finish()
    }
}

/// The key that the last page ended with.
fn after(key: &str) -> Result<(ThingKind, EntityCode), Problem> {
    let wrong = || Problem::bad_request("bad_after", "after= is what `next` of the page before said");
    let (kind, code) = key.split_once('/').ok_or_else(wrong)?;
    Ok((kind_of(kind).map_err(|_| wrong())?, code.into()))
}

async fn found(views: Arc<Views>, within: Within) -> Result<Response, Problem> {
    let within = Arc::new(within);
    let shared = within.clone();
    let is_light = move |city: &CityView| city.n_within(&shared.region, &shared.filter) <= N_AT_ONCE;
    answered(is_light, views, move |views, city| Ok(within.answer(views, city))).await
}

pub(crate) async fn get(
    State(views): State<Arc<Views>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let within = Within::read(Asked::of_query(query.as_deref())?, scope, &views)?;
    found(views, within).await
}

/// The same question with its parameters in a JSON object, for polygons too long for an address.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(object): Body<serde_json::Map<String, Value>>,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let within = Within::read(Asked::of_body(object), scope, &views)?;
    found(views, within).await
}
