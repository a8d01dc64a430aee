//! Coordinate systems by their URI, with the axes in the order of their authority (OGC 18-058r1, 6.2 and 6.3).

use onemap_model::crs::Crs;

use crate::error::Problem;

pub(super) const CRS84: &str = "http://www.opengis.net/def/crs/OGC/1.3/CRS84";
const EPSG: &str = "http://www.opengis.net/def/crs/EPSG/0/";

/// A system that features are given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axes {
    crs: Crs,
    /// Latitude or northing comes first.
    north_first: bool,
    epsg: u16,
}

impl Axes {
    /// Longitude, latitude in degrees: what is given when nothing is asked for.
    pub(super) const DEFAULT: Self = Self {
        crs: Crs::Wgs84,
        north_first: false,
        epsg: 0,
    };

    /// All that may be asked for, the default first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        [0, 4326, 4490, 3857, 4522, 4543]
            .into_iter()
            .filter_map(Self::of_epsg)
    }

    /// By EPSG's number; 0 is CRS84. EPSG lists latitude before longitude and, in Gauss-Krueger, northing (X) before
    /// easting (Y); easting before northing in Web Mercator.
    fn of_epsg(epsg: u16) -> Option<Self> {
        if epsg == 0 {
            return Some(Self::DEFAULT);
        }
        let crs = Crs::from_epsg(epsg)?;
        let north_first = crs != Crs::WebMercator;
        Some(Self {
            crs,
            north_first,
            epsg,
        })
    }

    /// A URI, as in `crs=` and `bbox-crs=`.
    ///
    /// # Errors
    /// 400 when it is not one of [`Axes::all`], or another zone of Gauss-Krueger.
    pub(super) fn parse(name: &str, uri: &str) -> Result<Self, Problem> {
        let epsg = || uri.strip_prefix(EPSG)?.parse().ok().filter(|epsg| *epsg != 0);
        let found = if uri == CRS84 {
            Some(Self::DEFAULT)
        } else {
            epsg().and_then(Self::of_epsg)
        };
        found.ok_or_else(|| {
            Problem::bad_request(
                "bad_crs",
                format!(
                    "{name}={}: not one of the systems listed at /ogc/collections",
                    super::short(uri)
                ),
            )
        })
    }

    pub(super) fn uri(self) -> String {
        match self.epsg {
            0 => CRS84.to_owned(),
            epsg => format!("{EPSG}{epsg}"),
        }
    }

    /// Two coordinates of this system, in the order of its axes, of a WGS 84 point.
    pub(super) fn of_wgs84(self, lon: f64, lat: f64) -> (f64, f64) {
        let (x, y) = self.crs.from_wgs84(lon, lat);
        if self.north_first { (y, x) } else { (x, y) }
    }

    /// Longitude and latitude of two coordinates in the order of its axes.
    ///
    /// # Errors
    /// When they cannot be of this system.
    pub(super) fn to_wgs84(self, first: f64, second: f64) -> Result<(f64, f64), String> {
        let (x, y) = if self.north_first {
            (second, first)
        } else {
            (first, second)
        };
        self.crs.read(x, y).map_err(|e| e.to_string())
    }

    /// Digits behind the point: 1e-9 degree, a tenth of a millimetre in metres.
    pub(super) fn places(self) -> i32 {
        if self.crs.is_projected() { 4 } else { 9 }
    }

    pub(super) fn is_degrees(self) -> bool {
        !self.crs.is_projected()
    }
}
