//! Networks of pipes and rivers as graphs: what is joined with what, and how far apart it lies along it.
//!
//! Pure: the caller has found from geometries and words of the register which pieces meet where. What water does is not
//! asked: a way along a network goes upstream as well as downstream.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, RwLock};

use onemap_rules::Texts;

const POISON: &str = "no holder of this lock panics";
/// Joints whose ways are kept, over all places that were asked for, 16 B each; then all are forgotten.
const N_KEPT: usize = 1 << 22;

/// What flows in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Medium {
    /// Stable name: `drain`, `sewage`, `supply`, `heat`, `gas`, `river`, or `pipe` where the register does not say.
    pub id: String,
    /// Such a network for people.
    pub name: Texts,
}

/// A stretch between two joints, which may be the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Where it begins.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// Its length; not negative.
    pub metres: f64,
    /// Which of the media flows in it.
    pub medium: u16,
}

/// A place on a piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stand {
    /// Number of the piece.
    pub piece: u32,
    /// How far from where it begins, 0 to its length.
    pub metres: f64,
}

/// Metres to the joints that lie within a reach of a place.
#[derive(Debug)]
pub(super) struct Reach {
    from: Stand,
    limit_m: f64,
    joints: HashMap<u32, f64>,
}

/// Ways that were asked for, by piece and by the bits of the metres on it and of the limit.
#[derive(Debug, Default)]
struct Kept {
    reaches: HashMap<(u32, u64, u64), Arc<Reach>>,
    n_joints: usize,
}

/// Every network of the city.
#[derive(Debug, Default)]
pub struct Networks {
    media: Vec<Medium>,
    pieces: Vec<Piece>,
    /// Of each joint the number of its network.
    of_joint: Vec<u32>,
    /// Of each joint where its ways begin in `ways`, with the end.
    first: Vec<u32>,
    /// Joints that are one piece away, and how far.
    ways: Vec<(u32, f64)>,
    /// Ways that were asked for; the same graph always gives the same.
    kept: RwLock<Kept>,
}

impl Networks {
    /// Makes networks of pieces; joints that are the `same` network lie in one also where no way is known.
    ///
    /// # Panics
    /// When a piece has a medium that is not among `media`.
    pub fn new(media: Vec<Medium>, pieces: Vec<Piece>, same: &[(u32, u32)]) -> Self {
        assert!(pieces.iter().all(|piece| usize::from(piece.medium) < media.len()));
        let ends = pieces.iter().map(|piece| (piece.from, piece.to));
        let last = ends.chain(same.iter().copied()).map(|(a, b)| a.max(b)).max();
        let n_joints = last.map_or(0, |last| last as usize + 1);
        let mut of_joint: Vec<u32> = (0..).take(n_joints).collect();
        let ends = pieces.iter().map(|piece| (piece.from, piece.to));
        for (a, b) in ends.chain(same.iter().copied()) {
            let (a, b) = (root(&mut of_joint, a), root(&mut of_joint, b));
            of_joint[a.max(b) as usize] = a.min(b);
        }
        for joint in 0..n_joints {
            of_joint[joint] = root(&mut of_joint, joint as u32);
        }
        let mut first = vec![0_u32; n_joints + 1];
        for piece in &pieces {
            first[piece.from as usize + 1] += 1;
            first[piece.to as usize + 1] += 1;
        }
        for joint in 0..n_joints {
            first[joint + 1] += first[joint];
        }
        let mut next = first.clone();
        let mut ways = vec![(0, 0.0); pieces.len() * 2];
        for piece in &pieces {
            for (a, b) in [(piece.from, piece.to), (piece.to, piece.from)] {
                ways[next[a as usize] as usize] = (b, piece.metres);
                next[a as usize] += 1;
            }
        }
        Self {
            media,
            pieces,
            of_joint,
            first,
            ways,
            kept: RwLock::default(),
        }
    }

    /// The network that a place lies in; `None` for a place of other networks than these.
    pub fn network(&self, stand: Stand) -> Option<u32> {
        let piece = self.pieces.get(stand.piece as usize)?;
        self.of_joint.get(piece.from as usize).copied()
    }

    /// What flows there.
    pub fn medium(&self, stand: Stand) -> Option<&Medium> {
        let piece = self.pieces.get(stand.piece as usize)?;
        self.media.get(usize::from(piece.medium))
    }

    /// Metres along the network between two places that lie no further apart than a limit.
    pub fn metres(&self, from: Stand, to: Stand, limit_m: f64) -> Option<f64> {
        self.metres_to(&self.reach(from, limit_m), to)
    }

    /// What lies within a limit of a place.
    pub(super) fn reach(&self, from: Stand, limit_m: f64) -> Arc<Reach> {
        let key = (from.piece, from.metres.to_bits(), limit_m.to_bits());
        if let Some(known) = self.kept.read().expect(POISON).reaches.get(&key) {
            return known.clone();
        }
        let reach = Arc::new(self.ways_from(from, limit_m));
        let mut kept = self.kept.write().expect(POISON);
        if kept.n_joints >= N_KEPT {
            *kept = Kept::default();
        }
        kept.n_joints += reach.joints.len() + 1;
        kept.reaches.insert(key, reach.clone());
        reach
    }

    /// Dijkstra's shortest ways. Metres are compared by their bits, which are in order where they are not negative.
    fn ways_from(&self, from: Stand, limit_m: f64) -> Reach {
        let mut joints = HashMap::new();
        let mut next = BinaryHeap::new();
        for (joint, metres) in self.ends(from) {
            next.push(Reverse((metres.max(0.0).to_bits(), joint)));
        }
        while let Some(Reverse((bits, joint))) = next.pop() {
            let metres = f64::from_bits(bits);
            if metres > limit_m || joints.contains_key(&joint) {
                continue;
            }
            joints.insert(joint, metres);
            let own = self.first[joint as usize] as usize..self.first[joint as usize + 1] as usize;
            for (to, more) in &self.ways[own] {
                next.push(Reverse(((metres + more.max(0.0)).to_bits(), *to)));
            }
        }
        Reach {
            from,
            limit_m,
            joints,
        }
    }

    /// Both ends of the piece that a place lies on, and how far they are from it.
    fn ends(&self, stand: Stand) -> impl Iterator<Item = (u32, f64)> {
        let piece = self.pieces.get(stand.piece as usize);
        let ends = piece.map(|piece| {
            [
                (piece.from, stand.metres),
                (piece.to, piece.metres - stand.metres),
            ]
        });
        ends.into_iter().flatten()
    }

    pub(super) fn metres_to(&self, reach: &Reach, to: Stand) -> Option<f64> {
        let along = (reach.from.piece == to.piece).then(|| (reach.from.metres - to.metres).abs());
        let through = self
            .ends(to)
            .filter_map(|(joint, more)| Some(reach.joints.get(&joint)? + more));
        let least = along.into_iter().chain(through).min_by(f64::total_cmp);
        least.filter(|metres| *metres <= reach.limit_m)
    }
}

fn root(of: &mut [u32], mut joint: u32) -> u32 {
    while of[joint as usize] != joint {
        of[joint as usize] = of[of[joint as usize] as usize];
        joint = of[joint as usize];
    }
    joint
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(from: u32, to: u32, metres: f64) -> Piece {
        Piece {
            from,
            to,
            metres,
            medium: 0,
        }
    }

    fn stand(piece: u32, metres: f64) -> Stand {
        Stand { piece, metres }
    }

    #[test]
    fn the_shortest_way_along_is_found_and_ends_at_its_limit() {
        // A ring of 0, 1, 2 with a branch to 3; another network 4, 5; 6 is said to be of the first.
        let pieces = vec![
            piece(0, 1, 100.0),
            piece(1, 2, 100.0),
            piece(2, 0, 250.0),
            piece(2, 3, 50.0),
            piece(4, 5, 10.0),
            piece(6, 6, 0.0),
        ];
        let networks = Networks::new(vec![Medium::default()], pieces, &[(6, 0)]);
        for (from, to, limit, want) in [
            (stand(0, 10.0), stand(0, 90.0), 1000.0, Some(80.0)),
            (stand(0, 10.0), stand(3, 50.0), 1000.0, Some(240.0)),
            (stand(3, 50.0), stand(0, 10.0), 1000.0, Some(240.0)),
            (stand(0, 10.0), stand(3, 50.0), 239.0, None),
            (stand(2, 125.0), stand(0, 0.0), 1000.0, Some(125.0)),
            (stand(0, 10.0), stand(4, 5.0), 1000.0, None),
            (stand(0, 10.0), stand(5, 0.0), 1000.0, None),
            (stand(0, 10.0), stand(9, 0.0), 1000.0, None),
        ] {
            assert_eq!(networks.metres(from, to, limit), want, "{from:?} {to:?}");
        }
        let of = |piece| networks.network(stand(piece, 0.0));
        assert_eq!(of(0), of(3));
        assert_eq!(of(0), of(5), "said to be the same");
        assert_ne!(of(0), of(4));
        assert_eq!(of(9), None);
        let none = Networks::new(Vec::new(), Vec::new(), &[]);
        assert_eq!(none.network(stand(0, 0.0)), None);
    }
}
