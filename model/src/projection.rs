//! Plane coordinates: the transverse Mercator projection of CGCS2000 and Web Mercator.
//!
//! Gauss-Krueger by Krueger's series to the sixth order in the third flattening (Karney 2011, J. Geodesy 85,
//! equations 7 to 9 and 35), its inverse by iteration of the same series: nanometres within the zones used here.

use std::f64::consts::PI;

/// CGCS2000: semi-major axis, m, and flattening.
const A_M: f64 = 6_378_137.0;
const F: f64 = 1.0 / 298.257_222_101;
/// Third flattening.
const N: f64 = F / (2.0 - F);

/// Half the side of Web Mercator's square, m.
pub(crate) const MERCATOR_HALF_M: f64 = A_M * PI;

/// Radius of the sphere with the meridian's length, m.
const RECTIFYING_M: f64 = {
    let n2 = N * N;
    A_M / (1.0 + N) * (1.0 + n2 / 4.0 + n2 * n2 / 64.0 + n2 * n2 * n2 / 256.0)
};

const ALPHA: [f64; 6] = {
    const fn poly(from: i32, coefficients: &[f64]) -> f64 {
        let mut power = 1.0;
        let mut i = 0;
        while i < from {
            power *= N;
            i += 1;
        }
        let (mut sum, mut k) = (0.0, 0);
        while k < coefficients.len() {
            sum += coefficients[k] * power;
            power *= N;
            k += 1;
        }
        sum
    }
    [
        poly(
            1,
            &[
                1.0 / 2.0,
                -2.0 / 3.0,
                5.0 / 16.0,
                41.0 / 180.0,
                -127.0 / 288.0,
                7891.0 / 37800.0,
            ],
        ),
        poly(
            2,
            &[
                13.0 / 48.0,
                -3.0 / 5.0,
                557.0 / 1440.0,
                281.0 / 630.0,
                -1_983_433.0 / 1_935_360.0,
            ],
        ),
        poly(
            3,
            &[
                61.0 / 240.0,
                -103.0 / 140.0,
                15061.0 / 26880.0,
                167_603.0 / 181_440.0,
            ],
        ),
        poly(
            4,
            &[49561.0 / 161_280.0, -179.0 / 168.0, 6_601_661.0 / 7_257_600.0],
        ),
        poly(5, &[34729.0 / 80640.0, -3_418_889.0 / 1_995_840.0]),
        poly(6, &[212_378_941.0 / 319_334_400.0]),
    ]
};

fn eccentricity() -> f64 {
    (F * (2.0 - F)).sqrt()
}

/// Tangent of the conformal latitude, of the tangent of the latitude.
fn conformal(tau: f64) -> f64 {
    let e = eccentricity();
    let sigma = (e * (e * tau / tau.hypot(1.0)).atanh()).sinh();
    tau * sigma.hypot(1.0) - sigma * tau.hypot(1.0)
}

/// What the series adds to (xi, eta).
fn series(xi: f64, eta: f64) -> (f64, f64) {
    let mut sum = (0.0, 0.0);
    for (i, alpha) in ALPHA.iter().enumerate() {
        let k = 2.0 * (i as f64 + 1.0);
        sum.0 += alpha * (k * xi).sin() * (k * eta).cosh();
        sum.1 += alpha * (k * xi).cos() * (k * eta).sinh();
    }
    sum
}

/// Metres east of the central meridian and north of the equator, of degrees east of the meridian and latitude.
pub(crate) fn gauss_kruger(east_deg: f64, lat_deg: f64) -> (f64, f64) {
    let (lambda, tau) = (east_deg.to_radians(), conformal(lat_deg.to_radians().tan()));
    let xi = tau.atan2(lambda.cos());
    let eta = (lambda.sin() / tau.hypot(lambda.cos())).asinh();
    let (d_xi, d_eta) = series(xi, eta);
    (RECTIFYING_M * (eta + d_eta), RECTIFYING_M * (xi + d_xi))
}

/// The inverse of [`gauss_kruger`].
pub(crate) fn gauss_kruger_inverse(east_m: f64, north_m: f64) -> (f64, f64) {
    let goal = (north_m / RECTIFYING_M, east_m / RECTIFYING_M);
    // The series is three orders smaller than what it corrects, so each round gains about three digits.
    let (mut xi, mut eta) = goal;
    for _ in 0..8 {
        let (d_xi, d_eta) = series(xi, eta);
        (xi, eta) = (goal.0 - d_xi, goal.1 - d_eta);
    }
    let lambda = eta.sinh().atan2(xi.cos());
    let goal = xi.sin() / eta.sinh().hypot(xi.cos());
    // Newton's method (Karney's equations 19 to 21).
    let e2 = F * (2.0 - F);
    let mut tau = goal / (1.0 - e2);
    for _ in 0..6 {
        let image = conformal(tau);
        let slope = (1.0 + (1.0 - e2) * tau * tau) / ((1.0 - e2) * tau.hypot(1.0));
        tau += (goal - image) / image.hypot(1.0) * slope;
    }
    (lambda.to_degrees(), tau.atan().to_degrees())
}

/// Web Mercator of degrees. The poles have no image: latitudes are taken to the rim of its square.
pub(crate) fn mercator(lon: f64, lat: f64) -> (f64, f64) {
    let y = A_M * lat.to_radians().tan().asinh();
    (A_M * lon.to_radians(), y.clamp(-MERCATOR_HALF_M, MERCATOR_HALF_M))
}

/// The inverse of [`mercator`].
pub(crate) fn mercator_inverse(x: f64, y: f64) -> (f64, f64) {
    ((x / A_M).to_degrees(), (y / A_M).sinh().atan().to_degrees())
}
