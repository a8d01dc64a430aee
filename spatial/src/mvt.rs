//! Writes Mapbox Vector Tiles (specification 2.1): protobuf by hand, keys and values once each.

use foldhash::HashMap;

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

/// A property of a layer in the making: the numbers of its key and value there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tag(u32, u32);

/// The number of a key in a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(u32);

/// Geometry of one feature in tile units.
#[derive(Clone, Copy)]
pub(crate) enum Drawing<'a> {
    Point(TilePoint),
    /// One line.
    Line(&'a [TilePoint]),
    Lines(&'a [Vec<TilePoint>]),
    /// One valid polygon without holes.
    Ring(&'a [TilePoint]),
    /// Valid polygons without holes that are apart from one another.
    Rings(&'a [Vec<TilePoint>]),
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
    /// Tags and commands of the feature that is written, and what stands before them.
    tags: Short<N_TAGS_BYTES>,
    commands: Vec<u8>,
    head: Short<N_HEAD_BYTES>,
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
            numbers: HashMap::default(),
            tags: Short::default(),
            commands: Vec::new(),
            head: Short::default(),
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
        let kind = self.draw(drawing);
        if self.commands.is_empty() {
            return true;
        }
        let most = |(_, value): &Property| match value {
            Value::Text(text) => text.len() + N_TAG_BYTES,
            Value::Number(_) => N_TAG_BYTES,
        };
        if !self.has_room(properties.clone().map(most).sum(), room) {
            return false;
        }
        self.tags.n = 0;
        for (key, value) in properties {
            let tag = self.tag(key, value);
            self.push_tag(tag);
        }
        self.write_feature(kind);
        true
    }

    /// As [`LayerWriter::add`] with at most [`N_MOST_TAGS`] properties that the layer has; `own` are at most two texts
    /// that no other feature has, so none looks for them.
    #[inline]
    pub(crate) fn add_tagged(
        &mut self,
        drawing: Drawing<'_>,
        own: &[(Key, &[u8])],
        tags: &[Tag],
        room: usize,
    ) -> bool {
        let kind = self.draw(drawing);
        if self.commands.is_empty() {
            return true;
        }
        let texts: usize = own.iter().map(|(_, text)| text.len() + N_TAG_BYTES).sum();
        if !self.has_room(texts + N_TAG_BYTES * tags.len(), room) {
            return false;
        }
        self.tags.n = 0;
        for (Key(key), text) in own {
            self.push_tag(Tag(*key, self.n_values as u32));
            write_text(&mut self.values, text);
            self.n_values += 1;
        }
        tags.iter().for_each(|tag| self.push_tag(*tag));
        self.write_feature(kind);
        true
    }

    #[inline]
    fn push_tag(&mut self, Tag(key, value): Tag) {
        self.tags.varint(u64::from(key));
        self.tags.varint(u64::from(value));
    }

    /// The numbers of a property, which the layer has from now on.
    pub(crate) fn tag(&mut self, key: &'static str, value: &Value) -> Tag {
        let Key(key) = self.key(key);
        let known = self.numbers.get(value).copied();
        let number = known.unwrap_or_else(|| {
            self.numbers.insert(value.clone(), self.n_values);
            write_value(&mut self.values, value);
            self.n_values += 1;
            self.n_values - 1
        });
        Tag(key, number as u32)
    }

    /// Writes the commands of a geometry and answers its type (specification, 4.3.4).
    #[inline]
    fn draw(&mut self, drawing: Drawing<'_>) -> u8 {
        self.commands.clear();
        let out = &mut self.commands;
        match drawing {
            Drawing::Point(point) => {
                write_point(out, point);
                1
            }
            Drawing::Line(line) => {
                write_path(out, line, false, &mut [0, 0]);
                2
            }
            Drawing::Lines(lines) => {
                paths(out, lines.iter(), false);
                2
            }
            Drawing::Ring(ring) => {
                write_path(out, ring, true, &mut [0, 0]);
                3
            }
            Drawing::Rings(rings) => {
                paths(out, rings.iter(), true);
                3
            }
            Drawing::Polygons(polygons) => {
                paths(out, polygons.iter().flatten(), true);
                3
            }
        }
    }

    fn has_room(&self, n_property_bytes: usize, room: usize) -> bool {
        self.len() + self.commands.len() + N_FEATURE_BYTES + n_property_bytes <= room
    }

    #[inline]
    fn write_feature(&mut self, kind: u8) {
        let (tags, commands) = (self.tags.bytes(), &self.commands);
        let n = 4 + tags.len() + n_varint(tags.len()) + commands.len() + n_varint(commands.len());
        let head = &mut self.head;
        head.n = 0;
        head.push(2 << 3 | 2);
        head.varint(n as u64);
        head.push(2 << 3 | 2);
        head.varint(tags.len() as u64);
        head.extend(tags);
        head.extend(&[0x18, kind, 4 << 3 | 2]);
        head.varint(commands.len() as u64);
        self.features.extend_from_slice(head.bytes());
        self.features.extend_from_slice(commands);
        self.n_features += 1;
    }

    /// The number of a key, which the layer has from now on.
    pub(crate) fn key(&mut self, key: &'static str) -> Key {
        let known = self.keys.iter().position(|k| *k == key);
        let number = known.unwrap_or_else(|| {
            self.keys.push(key);
            self.keys.len() - 1
        });
        Key(number as u32)
    }

    /// Appends the finished layer to a tile; nothing when it has no feature.
    pub(crate) fn finish(self, tile: &mut Vec<u8>) {
        if self.n_features == 0 {
            return;
        }
        let n_keys: usize = self
            .keys
            .iter()
            .map(|key| 1 + n_varint(key.len()) + key.len())
            .sum();
        let n = 1 + n_varint(self.name.len()) + self.name.len() + self.len() + n_keys;
        let n = n + 1 + n_varint(EXTENT as usize) + 2;
        tile.reserve(n + 8);
        tile.push(3 << 3 | 2);
        varint(tile, n as u64);
        field(tile, 1, self.name.as_bytes());
        tile.extend_from_slice(&self.features);
        for key in &self.keys {
            field(tile, 3, key.as_bytes());
        }
        tile.extend_from_slice(&self.values);
        tile.push(0x28);
        varint(tile, EXTENT as u64);
        tile.extend([0x78, 2]);
    }
}

/// Bytes of a property beside its text, at most: the frame of the value, two numbers.
const N_TAG_BYTES: usize = 30;
/// Bytes of a feature beside its properties and commands, at most.
const N_FEATURE_BYTES: usize = 30;
/// Properties of a feature, at most: own texts and those that others have.
pub(crate) const N_MOST_TAGS: usize = 12;
/// Bytes of the numbers of all properties of a feature: two of at most five bytes each.
const N_TAGS_BYTES: usize = 10 * N_MOST_TAGS;
/// Bytes of a feature before its commands.
const N_HEAD_BYTES: usize = N_TAGS_BYTES + N_FEATURE_BYTES;

/// A few bytes that need no room from anywhere.
struct Short<const N: usize> {
    bytes: [u8; N],
    n: usize,
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        Self { bytes: [0; N], n: 0 }
    }
}

impl<const N: usize> Short<N> {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.n]
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.bytes[self.n] = byte;
        self.n += 1;
    }

    #[inline]
    fn varint(&mut self, number: u64) {
        put_varint(&mut self.bytes, &mut self.n, number);
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        self.bytes[self.n..self.n + bytes.len()].copy_from_slice(bytes);
        self.n += bytes.len();
    }
}

/// Writes a number where there is room for it.
#[inline]
fn put_varint(out: &mut [u8], n: &mut usize, mut number: u64) {
    while number >= 0x80 {
        out[*n] = number as u8 | 0x80;
        *n += 1;
        number >>= 7;
    }
    out[*n] = number as u8;
    *n += 1;
}

#[inline]
fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Bytes of a number.
fn n_varint(n: usize) -> usize {
    (n | 1).ilog2() as usize / 7 + 1
}

/// A length-delimited field (tags up to 15).
#[inline]
fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[inline]
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    if let Ok(n) = u8::try_from(text.len() + 2)
        && n < 0x80
    {
        out.extend_from_slice(&[4 << 3 | 2, n, 1 << 3 | 2, n - 2]);
        out.extend_from_slice(text);
        return;
    }
    out.push(4 << 3 | 2);
    varint(out, (1 + n_varint(text.len()) + text.len()) as u64);
    field(out, 1, text);
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => write_text(out, text.as_bytes()),
        Value::Number(n) => {
            out.push(4 << 3 | 2);
            varint(out, (1 + n_varint(*n as usize)) as u64);
            out.push(5 << 3);
            varint(out, *n);
        }
    }
}

#[inline]
fn zigzag(delta: i32) -> u64 {
    u64::from((delta << 1 ^ delta >> 31) as u32)
}

/// A command and how often it stands there.
fn command(id: u64, count: usize) -> u64 {
    id | (count as u64) << 3
}

#[inline]
fn write_point(out: &mut Vec<u8>, point: TilePoint) {
    let mut short = Short::<16>::default();
    short.varint(command(1, 1));
    short.varint(zigzag(point[0]));
    short.varint(zigzag(point[1]));
    out.extend_from_slice(short.bytes());
}

/// Adds a path from where the last one ended; one that is too short adds nothing.
#[inline]
fn write_path(out: &mut Vec<u8>, path: &[TilePoint], closed: bool, at: &mut TilePoint) {
    if path.len() < if closed { 3 } else { 2 } {
        return;
    }
    // Two numbers of five bytes for each point, and three commands.
    let begin = out.len();
    out.resize(begin + 10 * path.len() + 12, 0);
    let (room, mut n) = (&mut out[begin..], 0);
    let mut put = |room: &mut [u8], number: u64| put_varint(room, &mut n, number);
    let [mut x, mut y] = *at;
    put(room, command(1, 1));
    for (i, point) in path.iter().enumerate() {
        if i == 1 {
            put(room, command(2, path.len() - 1));
        }
        put(room, zigzag(point[0] - x));
        put(room, zigzag(point[1] - y));
        [x, y] = *point;
    }
    if closed {
        put(room, command(7, 1));
    }
    *at = [x, y];
    out.truncate(begin + n);
}

fn paths<'a>(out: &mut Vec<u8>, paths: impl Iterator<Item = &'a Vec<TilePoint>>, closed: bool) {
    let mut at = [0, 0];
    for path in paths {
        write_path(out, path, closed, &mut at);
    }
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
        let mut out = Vec::new();
        paths(&mut out, polygon.iter(), true);
        assert_eq!(out, expected);
        out.clear();
        write_point(&mut out, [25, 17]);
        assert_eq!(out, [9, 50, 34]);
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
