//! Positions that are none: receivers without satellites say 0, 0.

use std::sync::LazyLock;

use onemap_model::{Quality, Quantity, Reading};

static NAMED: LazyLock<[Quantity; 2]> = LazyLock::new(|| {
    ["longitude", "latitude"].map(|name| Quantity::named(name).expect("the dictionary has positions"))
});

/// Marks longitudes and latitudes that are both 0 at one time on one channel. There is such a place, in the Gulf of
/// Guinea; who is there has no business here.
pub(super) fn doubt_positions(readings: &mut [Reading]) {
    let [longitude, latitude] = *NAMED;
    let is_zero = |reading: &Reading, quantity| {
        reading.series.quantity == quantity && reading.value.number() == Some(0.0)
    };
    if !readings.iter().any(|reading| is_zero(reading, longitude)) {
        return;
    }
    let zeros = |readings: &[Reading], quantity| -> std::collections::BTreeSet<_> {
        let zeros = readings.iter().filter(|reading| is_zero(reading, quantity));
        zeros
            .map(|reading| (reading.series.channel, reading.measured_at))
            .collect()
    };
    let (lons, lats) = (zeros(readings, longitude), zeros(readings, latitude));
    for reading in readings {
        let at = (reading.series.channel, reading.measured_at);
        let is_position = reading.series.quantity == longitude || reading.series.quantity == latitude;
        if is_position && lons.contains(&at) && lats.contains(&at) {
            reading.quality = reading.quality.with(Quality::SUSPECT);
        }
    }
}
