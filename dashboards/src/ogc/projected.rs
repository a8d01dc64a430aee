//! A box of metres, tested in its own plane: its borders are straight there and bend in degrees, so that the box of
//! degrees around it holds more.

use serde_json::Value;

use super::axes::Axes;

/// What answers are rounded to, metres: a thing that stands on the border as it is given lies inside.
const ROUNDED_M: f64 = 1e-4;

/// A box in a projected system, its borders included; coordinates in the order of its axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProjectedBox {
    pub(super) axes: Axes,
    pub(super) low: [f64; 2],
    pub(super) high: [f64; 2],
}

type Point = [f64; 2];

impl ProjectedBox {
    /// Whether a GeoJSON geometry of WGS 84 meets the box. Its edges are straight in the plane of the box.
    pub(super) fn meets(&self, geometry: &Value) -> bool {
        let at = &geometry["coordinates"];
        let each = |value: &Value, meets: &dyn Fn(&Value) -> bool| {
            value.as_array().is_some_and(|parts| parts.iter().any(meets))
        };
        let line = |line: &Value| self.line_meets(&self.line(line));
        let polygon = |rings: &Value| {
            let rings: Vec<Vec<Point>> = rings
                .as_array()
                .into_iter()
                .flatten()
                .map(|r| self.line(r))
                .collect();
            // No border crosses the box: it lies inside as a whole or outside.
            rings.iter().any(|ring| self.line_meets(ring)) || is_inside(self.low, &rings)
        };
        match geometry["type"].as_str() {
            Some("Point") => self.point(at).is_some_and(|point| self.holds(point)),
            Some("MultiPoint") => each(at, &|at| self.point(at).is_some_and(|point| self.holds(point))),
            Some("LineString") => line(at),
            Some("MultiLineString") => each(at, &line),
            Some("Polygon") => polygon(at),
            Some("MultiPolygon") => each(at, &polygon),
            _ => false,
        }
    }

    fn point(&self, at: &Value) -> Option<Point> {
        let (first, second) = self.axes.of_wgs84(at[0].as_f64()?, at[1].as_f64()?);
        Some([first, second])
    }

    fn line(&self, line: &Value) -> Vec<Point> {
        let points = line.as_array().into_iter().flatten();
        points.filter_map(|at| self.point(at)).collect()
    }

    fn holds(&self, point: Point) -> bool {
        let inside = |i: usize| (self.low[i] - ROUNDED_M..=self.high[i] + ROUNDED_M).contains(&point[i]);
        inside(0) && inside(1)
    }

    fn line_meets(&self, line: &[Point]) -> bool {
        line.windows(2).any(|pair| self.segment_meets(pair[0], pair[1]))
    }

    /// Clips a segment by the four borders (Liang and Barsky, 1984): something is left when it meets the box.
    fn segment_meets(&self, a: Point, b: Point) -> bool {
        let (mut from, mut to) = (0.0, 1.0);
        for i in 0..2 {
            let d = b[i] - a[i];
            let (low, high) = (self.low[i] - ROUNDED_M - a[i], self.high[i] + ROUNDED_M - a[i]);
            if d == 0.0 {
                if low > 0.0 || high < 0.0 {
                    return false;
                }
                continue;
            }
            let (enter, leave) = if d > 0.0 {
                (low / d, high / d)
            } else {
                (high / d, low / d)
            };
            from = f64::max(from, enter);
            to = f64::min(to, leave);
        }
        from <= to
    }
}

/// Whether a point lies inside of rings, the first the outer one and the others holes: by how often a ray crosses them.
fn is_inside(point: Point, rings: &[Vec<Point>]) -> bool {
    let crosses = |pair: &[Point]| {
        let (a, b) = (pair[0], pair[1]);
        (a[1] > point[1]) != (b[1] > point[1])
            && point[0] < a[0] + (point[1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
    };
    let n: usize = rings
        .iter()
        .map(|ring| ring.windows(2).filter(|pair| crosses(pair)).count())
        .sum();
    n % 2 == 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// EPSG 4543: Gauss-Krueger about 102 degrees east, northing first.
    fn axes() -> Axes {
        Axes::parse("crs", "http://www.opengis.net/def/crs/EPSG/0/4543").unwrap()
    }

    /// 60 by 60 km west of the middle, where the meridians lean.
    fn square() -> ProjectedBox {
        ProjectedBox {
            axes: axes(),
            low: [4_000_000.0, 400_000.0],
            high: [4_060_000.0, 460_000.0],
        }
    }

    fn degrees(points: &[Point]) -> Value {
        let turned = points.iter().map(|[x, y]| {
            let (lon, lat) = axes().to_wgs84(*x, *y).unwrap();
            json!([lon, lat])
        });
        turned.collect()
    }

    fn geometry(name: &str, points: &[Point]) -> Value {
        let all = degrees(points);
        match name {
            "Point" => json!({"type": name, "coordinates": all[0]}),
            "Polygon" => json!({"type": name, "coordinates": [all]}),
            _ => json!({"type": name, "coordinates": all}),
        }
    }

    #[test]
    fn what_only_the_box_of_degrees_holds_is_outside() {
        let square = square();
        // Five metres off the western border's middle, and inside of the box of degrees: its corner lies farther west.
        let off = degrees(&[[4_030_000.0, 399_995.0]]);
        let corner = degrees(&[[4_060_000.0, 400_000.0], [4_000_000.0, 400_000.0]]);
        let west = corner[0][0].as_f64().unwrap().min(corner[1][0].as_f64().unwrap());
        assert!(off[0][0].as_f64().unwrap() > west, "the box of degrees holds it");
        for (name, points, meets) in [
            ("Point", vec![[4_030_000.0, 399_995.0]], false),
            ("Point", vec![[4_030_000.0, 400_005.0]], true),
            ("Point", vec![[4_000_000.0, 400_000.0]], true),
            ("Point", vec![[4_000_000.0, 399_999.9]], false),
            (
                "LineString",
                vec![[3_990_000.0, 399_000.0], [4_070_000.0, 399_990.0]],
                false,
            ),
            (
                "LineString",
                vec![[3_990_000.0, 430_000.0], [4_070_000.0, 430_000.0]],
                true,
            ),
            (
                "LineString",
                vec![[3_999_000.0, 401_000.0], [4_001_500.0, 399_000.0]],
                true,
            ),
            (
                "LineString",
                vec![[3_999_000.0, 400_500.0], [4_000_400.0, 399_000.0]],
                false,
            ),
            (
                "Polygon",
                vec![
                    [3_900_000.0, 300_000.0],
                    [3_900_000.0, 600_000.0],
                    [4_100_000.0, 600_000.0],
                    [4_100_000.0, 300_000.0],
                    [3_900_000.0, 300_000.0],
                ],
                true,
            ),
            (
                "Polygon",
                vec![
                    [4_010_000.0, 410_000.0],
                    [4_010_000.0, 411_000.0],
                    [4_011_000.0, 410_000.0],
                    [4_010_000.0, 410_000.0],
                ],
                true,
            ),
        ] {
            assert_eq!(square.meets(&geometry(name, &points)), meets, "{name} {points:?}");
        }
        // In the hole of an area there is nothing of it.
        let outer = degrees(&[
            [3_900_000.0, 300_000.0],
            [3_900_000.0, 600_000.0],
            [4_100_000.0, 600_000.0],
            [4_100_000.0, 300_000.0],
            [3_900_000.0, 300_000.0],
        ]);
        let hole = degrees(&[
            [3_990_000.0, 390_000.0],
            [3_990_000.0, 470_000.0],
            [4_070_000.0, 470_000.0],
            [4_070_000.0, 390_000.0],
            [3_990_000.0, 390_000.0],
        ]);
        assert!(!square.meets(&json!({"type": "Polygon", "coordinates": [outer, hole]})));
        assert!(square.meets(&json!({"type": "MultiPolygon", "coordinates": [[outer, hole], [hole]]})));
        assert!(!square.meets(&Value::Null));
    }

    proptest! {
        #[test]
        fn points_are_inside_by_their_own_coordinates(x in 3_990_000.0..4_070_000.0, y in 390_000.0..470_000.0) {
            let square = square();
            let inside = (4_000_000.0..=4_060_000.0).contains(&x) && (400_000.0..=460_000.0).contains(&y);
            prop_assert_eq!(square.meets(&geometry("Point", &[[x, y]])), inside);
            let line = geometry("LineString", &[[x, y], [x + 0.5, y + 0.5]]);
            prop_assert!(!inside || square.meets(&line));
        }
    }
}
