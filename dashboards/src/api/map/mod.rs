//! The map's questions and its tiles: within, nearest, column, section.
//!
//! A question takes the map as it is (an `Arc`) and leaves the register at once; names are read in it when
//! the answer is written, for the things of one page only.

pub(crate) mod asked;
pub(crate) mod column;
mod features;
pub(crate) mod nearest;
pub(crate) mod section;
pub(crate) mod tiles;
pub(crate) mod within;

use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use onemap_spatial::CityView;

use crate::error::Problem;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

/// Things that a question looks at on the thread that took the request; with more it goes to a thread that
/// may take its time.
const N_AT_ONCE: usize = 4096;

/// The map as it is now.
fn city(views: &Views) -> Arc<CityView> {
    views.register.read().expect(POISON).city.view()
}

/// Answers on this thread or, when that takes long, on another.
async fn answered(
    is_light: impl FnOnce(&CityView) -> bool,
    views: Arc<Views>,
    make: impl FnOnce(&Views, &CityView) -> Result<Vec<u8>, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let city = city(&views);
    let bytes = match city.is_indexed() && is_light(&city) {
        true => make(&views, &city.moved())?,
        false => tokio::task::spawn_blocking(move || make(&views, &city.moved()))
            .await
            .map_err(|error| Problem::internal(&error))??,
    };
    Ok(([(header::CONTENT_TYPE, "application/geo+json")], bytes).into_response())
}
