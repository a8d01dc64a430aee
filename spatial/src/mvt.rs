//! Writes Mapbox Vector Tiles (specification 2.1): protobuf by hand, keys and values once each.

use std::collections::HashMap;

use crate::clip::TilePoint;
use crate::repair::TilePolygon;

/// Units along a tile's side.
pub(crate) const EXTENT: i32 = 4096;

/// A property's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
}

/// A property: its name and value.
pub(crate) type Property = (&'static str, Value);

/// Geometry of one feature in tile units.
#[derive(Clone, Copy)]
pub(crate) enum Drawing<'a> {
    Point(TilePoint),
    Lines(&'a [Vec<TilePoint>]),
    Polygons(&'a [TilePolygon]),
}

/// One layer in the making.
pub(crate) struct LayerWriter {
    name: &'static str,
    features: Vec<u8>,
    n_features: usize,
    keys: Vec<&'static str>,
    values: Vec<u8>,
    n_values: u64,
    numbers: HashMap<Value, u64>,
}

impl LayerWriter {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            features: Vec::new(),
            n_features: 0,
            keys: Vec::new(),
            values: Vec::new(),
            n_values: 0,
            numbers: HashMap::new(),
        }
    }

    /// Bytes so far, without the layer's few fixed ones.
    pub(crate) fn len(&self) -> usize {
        self.features.len() + self.values.len()
    }

    /// Adds a feature; a geometry without parts needs nothing and adds nothing. Returns `false` and
    /// leaves the layer as it was when it might then exceed `room` bytes.
    pub(crate) fn add<'p>(
        &mut self,
        drawing: Drawing<'_>,
        properties: impl Iterator<Item = &'p Property> + Clone,
        room: usize,
    ) -> bool {
        self.add_named(drawing, &[], properties, room)
    }

    /// As [`LayerWriter::add`]; `own` are texts that no other feature has, so none looks for them.
    pub(crate) fn add_named<'p>(
        &mut self,
        drawing: Drawing<'_>,
        own: &[(&'static str, &str)],
        properties: impl Iterator<Item = &'p Property> + Clone,
        room: usize,
    ) -> bool {
        let (kind, commands) = match drawing {
            Drawing::Point(point) => (1, points(point)),
            Drawing::Lines(lines) => (2, paths(lines.iter(), false)),
            Drawing::Polygons(polygons) => (3, paths(polygons.iter().flatten(), true)),
        };
        if commands.is_empty() {
            return true;
        }
        // At most: value text and its frame, two tag numbers; the feature's own frame.
        let most = |(_, value): &Property| match value {
            Value::Text(text) => text.len() + 30,
            Value::Number(_) => 30,
        };
        let texts = own.iter().map(|(_, text)| text.len() + 30).sum::<usize>();
        if self.len() + commands.len() + 30 + texts + properties.clone().map(most).sum::<usize>() > room {
            return false;
        }
        let mut tags = Vec::with_capacity(32);
        for (key, text) in own {
            let key = self.key(key);
            varint(&mut tags, key);
            varint(&mut tags, self.n_values);
            write_text(&mut self.values, text);
            self.n_values += 1;
        }
        for (key, value) in properties {
            let key = self.key(key);
            varint(&mut tags, key);
            let number = match self.numbers.get(value) {
                Some(known) => *known,
                None => {
                    self.numbers.insert(value.clone(), self.n_values);
                    write_value(&mut self.values, value);
                    self.n_values += 1;
                    self.n_values - 1
                }
            };
            varint(&mut tags, number);
        }
        let mut feature = Vec::with_capacity(tags.len() + commands.len() + 8);
        field(&mut feature, 2, &tags);
        feature.extend([0x18, kind]);
        field(&mut feature, 4, &commands);
        field(&mut self.features, 2, &feature);
        self.n_features += 1;
        true
    }

    fn key(&mut self, key: &'static str) -> u64 {
        let known = self.keys.iter().position(|k| *k == key);
        let number = known.unwrap_or_else(|| {
            self.keys.push(key);
            self.keys.len() - 1
        });
        number as u64
    }

    /// Appends the finished layer to a tile; nothing when it has no feature.
    pub(crate) fn finish(self, tile: &mut Vec<u8>) {
        if self.n_features == 0 {
            return;
        }
        let mut layer = Vec::with_capacity(self.len() + 128);
        field(&mut layer, 1, self.name.as_bytes());
        layer.extend(&self.features);
        for key in &self.keys {
            field(&mut layer, 3, key.as_bytes());
        }
        layer.extend(&self.values);
        layer.push(0x28);
        varint(&mut layer, EXTENT as u64);
        layer.extend([0x78, 2]);
        field(tile, 3, &layer);
    }
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A length-delimited field (tags up to 15).
fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let mut bytes = Vec::with_capacity(text.len() + 4);
    field(&mut bytes, 1, text.as_bytes());
    field(out, 4, &bytes);
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    let mut bytes = Vec::new();
    match value {
        Value::Text(text) => field(&mut bytes, 1, text.as_bytes()),
        Value::Number(n) => {
            bytes.push(5 << 3);
            varint(&mut bytes, *n);
        }
    }
    field(out, 4, &bytes);
}

fn command(out: &mut Vec<u8>, id: u64, count: usize) {
    varint(out, id | (count as u64) << 3);
}

fn zigzag(out: &mut Vec<u8>, delta: i32) {
    varint(out, u64::from((delta << 1 ^ delta >> 31) as u32));
}

fn points(point: TilePoint) -> Vec<u8> {
    let mut out = Vec::new();
    command(&mut out, 1, 1);
    zigzag(&mut out, point[0]);
    zigzag(&mut out, point[1]);
    out
}

fn paths<'a>(paths: impl Iterator<Item = &'a Vec<TilePoint>>, closed: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = [0, 0];
    for path in paths.filter(|path| path.len() >= if closed { 3 } else { 2 }) {
        for (i, point) in path.iter().enumerate() {
            match i {
                0 => command(&mut out, 1, 1),
                1 => command(&mut out, 2, path.len() - 1),
                _ => {}
            }
            zigzag(&mut out, point[0] - at[0]);
            zigzag(&mut out, point[1] - at[1]);
            at = *point;
        }
        if closed {
            command(&mut out, 7, 1);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The polygon with a hole of the specification, section 4.3.5: commands as given there.
    #[test]
    fn commands_are_those_of_the_specification() {
        let polygon = [
            vec![[11, 11], [20, 11], [20, 20], [11, 20]],
            vec![[13, 13], [13, 17], [17, 17], [17, 13]],
        ];
        let expected: Vec<u8> = vec![
            9, 22, 22, 26, 18, 0, 0, 18, 17, 0, 15, 9, 4, 13, 26, 0, 8, 8, 0, 0, 7, 15,
        ];
        assert_eq!(paths(polygon.iter(), true), expected);
        assert_eq!(points([25, 17]), [9, 50, 34]);
    }

    #[test]
    fn keys_and_values_are_written_once() {
        let properties = |n| [("name", Value::Text("湟水河".into())), ("rank", Value::Number(n))];
        let mut layer = LayerWriter::new("water");
        for n in [300, 300, 2] {
            assert!(layer.add(
                Drawing::Lines(&[vec![[0, 0], [5, 5]]]),
                properties(n).iter(),
                1000
            ));
        }
        assert!(layer.add(Drawing::Lines(&[]), properties(99).iter(), 1000));
        assert!(!layer.add(Drawing::Point([1, 1]), properties(99).iter(), layer.len() + 20));
        let mut tile = Vec::new();
        layer.finish(&mut tile);
        let count = |needle: &[u8]| tile.windows(needle.len()).filter(|w| *w == needle).count();
        assert_eq!(
            (count("湟水河".as_bytes()), count(b"rank"), count(b"name")),
            (1, 1, 1)
        );
        assert_eq!((count(&[0x28, 0xac, 0x02]), count(&[0x28, 99])), (1, 0));
    }
}
