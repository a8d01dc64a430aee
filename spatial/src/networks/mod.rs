//! Pipes and rivers of the register as networks: which lines meet where, and where on them a thing stands.
//!
//! - Lines of one medium are joined where an end of one lies on another, within [`JOIN_M`]. Lines that cross are not: one
//!   goes under the other. Lines with different `network` attributes are not joined by touching.
//! - `upstream` and `downstream` attributes name entities by code that are joined whatever their geometry says.
//! - Things of one medium with one `network` are of one network also where no way between them is known.
//!
//! Pure: a function of the entities. Heights are not looked at.

mod index;
mod lined;
mod medium;

use std::collections::HashMap;
use std::ops::Range;

use onemap_model::{Entity, EntityKind, EntityRef, Position};

use index::{Index, Segment, metres_between};
pub use lined::Lined;
pub use medium::Medium;
use medium::medium_of;

/// Ends that lie no further from a line are on it: coordinates of registers are rounded to 1e-5 degree at worst.
pub const JOIN_M: f64 = 1.0;
/// A component that lies no further from a pipe is on it.
pub const PLACE_M: f64 = 3.0;

/// A stretch between two joints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Number of the joint where it begins.
    pub from: u32,
    /// Number of the joint where it ends.
    pub to: u32,
    /// Its length.
    pub metres: f64,
    /// What flows in it: a number in [`Medium::all`].
    pub medium: u16,
}

/// A place on a piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Number of the piece.
    pub piece: u32,
    /// How far from where it begins.
    pub metres: f64,
}

/// One line of an entity.
#[derive(Debug)]
struct Path {
    medium: u16,
    length_m: f64,
    segments: Range<usize>,
    /// Where each of its pieces begins, and its number.
    pieces: Vec<(f64, u32)>,
}

/// Where an entity is in its networks.
#[derive(Clone, Debug)]
enum Own {
    Paths(Range<usize>),
    /// A component, or what has no line: a piece of no length.
    Piece(u32),
}

/// All networks.
#[derive(Debug, Default)]
pub struct Networks {
    /// The pieces, by number.
    pub pieces: Vec<Piece>,
    /// Joints that are of one network though no way between them is known.
    pub same: Vec<(u32, u32)>,
    paths: Vec<Path>,
    segments: Vec<Segment>,
    index: Index,
    of: HashMap<EntityRef, Own>,
}

impl Networks {
    /// Joins what is lined; of two with one kind and code the last counts.
    pub fn of(lined: Vec<Lined>) -> Self {
        let mut joining = Joining::of(lined);
        joining.ends();
        joining.pieces_of_one();
        joining.components();
        joining.named_ways();
        joining.named_networks();
        joining.finish()
    }

    /// Where an entity that is part of a network has this place on it, its line's middle without one; `None` for what is
    /// no part of one.
    pub fn place(&self, of: &EntityRef, at: Option<Position>) -> Option<Place> {
        match self.of.get(of)? {
            Own::Piece(piece) => Some(Place {
                piece: *piece,
                metres: 0.0,
            }),
            Own::Paths(paths) => {
                let Some(at) = at else {
                    let path = paths.start;
                    return self.on_path(path, self.paths[path].length_m / 2.0);
                };
                let at = [at.lon(), at.lat()];
                let segments = paths.clone().flat_map(|path| self.paths[path].segments.clone());
                let nearest = segments
                    .map(|segment| (self.segments[segment].nearest(at), self.segments[segment].path))
                    .min_by(|a, b| f64::total_cmp(&a.0.0, &b.0.0));
                let ((_, along), path) = nearest?;
                self.on_path(path as usize, along)
            }
        }
    }

    /// Where a component that says nothing of its network lies on one: that of its medium within [`PLACE_M`]; one that does
    /// not say what flows in it lies on none where lines of several media are as near.
    pub fn place_near(&self, component: &Entity) -> Option<Place> {
        if component.kind != EntityKind::Component {
            return None;
        }
        let at = lined::point_of(&component.geometry)?;
        let (path, along) = nearest(&self.index, &self.segments, &self.paths, at, medium_of(component))?;
        self.on_path(path, along)
    }

    fn on_path(&self, path: usize, along: f64) -> Option<Place> {
        let pieces = &self.paths.get(path)?.pieces;
        let at = pieces.partition_point(|(from, _)| *from <= along).max(1) - 1;
        let (from, piece) = *pieces.get(at)?;
        let metres = (along - from).clamp(0.0, self.pieces[piece as usize].metres);
        Some(Place { piece, metres })
    }
}

/// The path that lies nearest to a place within [`PLACE_M`], and how far along it.
fn nearest(
    index: &Index,
    segments: &[Segment],
    paths: &[Path],
    at: [f64; 2],
    medium: Option<u16>,
) -> Option<(usize, f64)> {
    let near = index.near(at, PLACE_M).into_iter().filter_map(|segment| {
        let segment = &segments[segment as usize];
        let own = paths[segment.path as usize].medium;
        let (metres, along) = segment.nearest(at);
        let is_it = metres <= PLACE_M && medium.is_none_or(|medium| medium == own);
        is_it.then_some((metres, segment.path as usize, along))
    });
    let near: Vec<_> = near.collect();
    let (_, path, along) = *near.iter().min_by(|a, b| f64::total_cmp(&a.0, &b.0))?;
    let is_one = near
        .iter()
        .all(|(_, other, _)| paths[*other].medium == paths[path].medium);
    is_one.then_some((path, along))
}

/// Where a line ends or a component is, if that is known, and the joint there.
type Ending = (Option<[f64; 2]>, u32);

/// Networks in the making. Joints are merged as more of them are found to be one.
struct Joining {
    lined: Vec<Lined>,
    /// Of each of these what it is.
    own: Vec<Range<usize>>,
    paths: Vec<Path>,
    segments: Vec<Segment>,
    index: Index,
    /// Of each path where it has joints, its ends first: metres along it, and the joint.
    cuts: Vec<Vec<(f64, u32)>>,
    /// Of each joint one that it is one with.
    joints: Vec<u32>,
    /// Joints of what has no line.
    point_joints: HashMap<usize, u32>,
    /// Ways that no line shows.
    more: Vec<Piece>,
    same: Vec<(u32, u32)>,
}

impl Joining {
    fn of(lined: Vec<Lined>) -> Self {
        let mut new = Self {
            own: Vec::new(),
            paths: Vec::new(),
            segments: Vec::new(),
            index: Index::default(),
            cuts: Vec::new(),
            joints: Vec::new(),
            point_joints: HashMap::new(),
            more: Vec::new(),
            same: Vec::new(),
            lined,
        };
        for i in 0..new.lined.len() {
            let first = new.paths.len();
            for points in std::mem::take(&mut new.lined[i].paths) {
                new.lay(new.medium(i), &points);
            }
            new.own.push(first..new.paths.len());
        }
        new.index = Index::of(&new.segments);
        new
    }

    fn joint(&mut self) -> u32 {
        let joint = u32::try_from(self.joints.len()).unwrap_or(u32::MAX);
        self.joints.push(joint);
        joint
    }

    fn root(&mut self, mut joint: u32) -> u32 {
        while self.joints[joint as usize] != joint {
            let above = self.joints[self.joints[joint as usize] as usize];
            self.joints[joint as usize] = above;
            joint = above;
        }
        joint
    }

    fn merge(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.joints[a.max(b) as usize] = a.min(b);
    }

    /// A path of at least two points, with a joint at each end.
    fn lay(&mut self, medium: u16, points: &[[f64; 2]]) {
        let path = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        let first = self.segments.len();
        let mut length_m = 0.0;
        for pair in points.windows(2) {
            let metres = metres_between(pair[0], pair[1]);
            self.segments.push(Segment {
                path,
                from_m: length_m,
                metres,
                ends: [pair[0], pair[1]],
            });
            length_m += metres;
        }
        let ends = [(0.0, self.joint()), (length_m, self.joint())];
        self.cuts.push(ends.to_vec());
        self.paths.push(Path {
            medium,
            length_m,
            segments: first..self.segments.len(),
            pieces: Vec::new(),
        });
    }

    /// Both ends of a path: where, and their joints.
    fn ends_of(&self, path: usize) -> [([f64; 2], u32); 2] {
        let segments = &self.segments[self.paths[path].segments.clone()];
        let (first, last) = (segments[0].ends[0], segments[segments.len() - 1].ends[1]);
        [(first, self.cuts[path][0].1), (last, self.cuts[path][1].1)]
    }

    /// Joins each end with what it lies on.
    fn ends(&mut self) {
        let mut name_of = vec![None; self.paths.len()];
        for (lined, own) in self.lined.iter().zip(&self.own) {
            own.clone()
                .for_each(|path| name_of[path].clone_from(&lined.network));
        }
        let is_other =
            |a: usize, b: usize| matches!((&name_of[a], &name_of[b]), (Some(a), Some(b)) if a != b);
        let mut first_at = HashMap::new();
        for (path, name) in name_of.iter().enumerate() {
            let ends = self.ends_of(path);
            if metres_between(ends[0].0, ends[1].0) <= JOIN_M {
                self.merge(ends[0].1, ends[1].1);
            }
            for (at, joint) in ends {
                // Of many that end at one point only the first looks around.
                let point = (at.map(f64::to_bits), self.paths[path].medium, name.clone());
                if let Some(first) = first_at.get(&point).copied() {
                    self.merge(first, joint);
                    continue;
                }
                first_at.insert(point, joint);
                for segment in self.index.near(at, JOIN_M) {
                    let segment = &self.segments[segment as usize];
                    let other = segment.path as usize;
                    let (metres, along) = segment.nearest(at);
                    let is_alike = self.paths[path].medium == self.paths[other].medium;
                    if metres <= JOIN_M && other != path && is_alike && !is_other(path, other) {
                        self.cut(other, along, joint);
                    }
                }
            }
        }
    }

    /// Puts a joint on a path; one that lies at its end is that end.
    fn cut(&mut self, path: usize, along: f64, joint: u32) {
        let length_m = self.paths[path].length_m;
        if along <= JOIN_M {
            self.merge(self.cuts[path][0].1, joint);
        } else if length_m - along <= JOIN_M {
            self.merge(self.cuts[path][1].1, joint);
        } else {
            self.cuts[path].push((along, joint));
        }
    }

    /// Lines of one entity are one thing, in their order.
    fn pieces_of_one(&mut self) {
        for own in self.own.clone() {
            for path in own.clone().skip(1) {
                let [_, before] = self.ends_of(path - 1);
                let [after, _] = self.ends_of(path);
                self.way(before, after, self.paths[path].medium);
            }
        }
    }

    fn way(&mut self, (at, from): ([f64; 2], u32), (there, to): ([f64; 2], u32), medium: u16) {
        let metres = metres_between(at, there);
        match metres <= JOIN_M {
            true => self.merge(from, to),
            false => self.more.push(Piece {
                from,
                to,
                metres,
                medium,
            }),
        }
    }

    /// Joints of what has no line, on the line that it lies on.
    fn components(&mut self) {
        for i in 0..self.lined.len() {
            if !self.own[i].is_empty() {
                continue;
            }
            let joint = self.joint();
            let (at, medium) = (self.lined[i].point, self.lined[i].medium);
            let on = at.and_then(|at| nearest(&self.index, &self.segments, &self.paths, at, medium));
            if let Some((path, along)) = on {
                self.cut(path, along, joint);
                self.lined[i].medium = Some(self.paths[path].medium);
            }
            self.point_joints.insert(i, joint);
        }
    }

    fn medium(&self, i: usize) -> u16 {
        self.lined[i].medium.unwrap_or_else(Medium::unsaid)
    }

    /// Joints of a thing, and where they are.
    fn joints_of(&self, i: usize) -> Vec<Ending> {
        if let Some(joint) = self.point_joints.get(&i) {
            return vec![(self.lined[i].point, *joint)];
        }
        let ends = self.own[i].clone().flat_map(|path| self.ends_of(path));
        ends.map(|(at, joint)| (Some(at), joint)).collect()
    }

    /// Ways to what things name as upstream or downstream of them.
    fn named_ways(&mut self) {
        let mut by_code: HashMap<String, Vec<usize>> = HashMap::new();
        for (i, lined) in self.lined.iter().enumerate() {
            by_code.entry(lined.own.code.to_string()).or_default().push(i);
            by_code.entry(lined.own.to_string()).or_default().push(i);
        }
        for i in 0..self.lined.len() {
            for code in std::mem::take(&mut self.lined[i].next) {
                let found = by_code.get(&code).map_or(&[][..], Vec::as_slice);
                let own_kind = |j: &&usize| self.lined[**j].own.kind == self.lined[i].own.kind;
                let other = found.iter().find(own_kind).or(found.first()).copied();
                if let Some(other) = other.filter(|other| self.may_flow(i, *other)) {
                    self.shortest_way(i, other);
                }
            }
        }
    }

    fn may_flow(&self, i: usize, other: usize) -> bool {
        let (own, its) = (self.medium(i), self.medium(other));
        i != other && (own == its || own == Medium::unsaid() || its == Medium::unsaid())
    }

    fn shortest_way(&mut self, i: usize, other: usize) {
        let (own, its) = (self.joints_of(i), self.joints_of(other));
        let pairs = own.iter().flat_map(|a| its.iter().map(move |b| (a, b)));
        let metres = |((a, _), (b, _)): &(&Ending, &Ending)| match (a, b) {
            (Some(a), Some(b)) => metres_between(*a, *b),
            _ => f64::INFINITY,
        };
        let Some((a, b)) = pairs.min_by(|a, b| metres(a).total_cmp(&metres(b))) else {
            return;
        };
        match (a.0, b.0) {
            (Some(at), Some(there)) => self.way((at, a.1), (there, b.1), self.medium(i)),
            // How far it is nobody knows.
            _ => self.same.push((a.1, b.1)),
        }
    }

    /// What is said to be of one network is.
    fn named_networks(&mut self) {
        let mut of: HashMap<(u16, String), u32> = HashMap::new();
        for i in 0..self.lined.len() {
            let Some(network) = self.lined[i].network.take() else {
                continue;
            };
            let key = (self.medium(i), network);
            for (_, joint) in self.joints_of(i) {
                let first = *of.entry(key.clone()).or_insert(joint);
                self.same.push((first, joint));
            }
        }
    }

    fn finish(mut self) -> Networks {
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let mut number = |joining: &mut Self, joint: u32| {
            let root = joining.root(joint);
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(root).or_insert(next)
        };
        let mut pieces: Vec<Piece> = Vec::new();
        for (path, mut cuts) in std::mem::take(&mut self.cuts).into_iter().enumerate() {
            cuts.sort_by(|a, b| f64::total_cmp(&a.0, &b.0));
            for pair in cuts.windows(2) {
                let piece = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
                self.paths[path].pieces.push((pair[0].0, piece));
                pieces.push(Piece {
                    from: number(&mut self, pair[0].1),
                    to: number(&mut self, pair[1].1),
                    metres: pair[1].0 - pair[0].0,
                    medium: self.paths[path].medium,
                });
            }
        }
        for piece in std::mem::take(&mut self.more) {
            pieces.push(Piece {
                from: number(&mut self, piece.from),
                to: number(&mut self, piece.to),
                ..piece
            });
        }
        let mut of = HashMap::new();
        for i in 0..self.lined.len() {
            let own = match self.point_joints.get(&i).copied() {
                None => Own::Paths(self.own[i].clone()),
                Some(joint) => {
                    let joint = number(&mut self, joint);
                    pieces.push(Piece {
                        from: joint,
                        to: joint,
                        metres: 0.0,
                        medium: self.medium(i),
                    });
                    Own::Piece(u32::try_from(pieces.len() - 1).unwrap_or(u32::MAX))
                }
            };
            of.insert(self.lined[i].own.clone(), own);
        }
        let same = std::mem::take(&mut self.same);
        let same = same
            .into_iter()
            .map(|(a, b)| (number(&mut self, a), number(&mut self, b)))
            .collect();
        Networks {
            pieces,
            same,
            paths: self.paths,
            segments: self.segments,
            index: self.index,
            of,
        }
    }
}

#[cfg(test)]
mod tests;
