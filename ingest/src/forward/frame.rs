//! A kept HJ 212 frame as a superior platform is sent it.

use onemap_wire::hj212::{Framer, MAX_SEGMENT, Piece, Segment, Version, crc};

/// A frame to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) position: u64,
    pub(super) mn: Box<str>,
    pub(super) qn: Box<str>,
    pub(super) bytes: Vec<u8>,
    /// The superior answers it.
    pub(super) is_answered: bool,
}

/// Reads a kept frame. None for what stations say to the centre alone: its answers, and heartbeats.
///
/// A frame that asks for no answer is sent as one that does, so that there is a receipt of it: bit A of Flag is set,
/// and the CRC with it. One that is encrypted stays as it is, because its CRC is of the plain text.
pub(super) fn outgoing(position: u64, bytes: &[u8]) -> Option<Outgoing> {
    let pieces = Framer::new(MAX_SEGMENT.max(bytes.len())).push(bytes);
    let Some(Piece::Frame { frame, .. }) = pieces.into_iter().next() else {
        return None;
    };
    let segment = Segment::parse(&frame.segment).ok()?;
    if matches!(segment.cn(), "9011" | "9012" | "9013" | "9014" | "9015") {
        return None;
    }
    let asks = segment.wants_answer();
    let bytes = match asks || frame.sealed {
        true => bytes.to_vec(),
        false => asking(&segment, &frame.segment)?,
    };
    Some(Outgoing {
        position,
        mn: segment.mn().into(),
        qn: segment.qn().into(),
        bytes,
        is_answered: asks || !frame.sealed,
    })
}

/// The same frame with bit A of its Flag.
fn asking(segment: &Segment, text: &[u8]) -> Option<Vec<u8>> {
    let flag = segment.flag().map_or(Version::V2005.bits() << 2, |flag| flag.0) | 1;
    let header = find(text, b"CP=&&").unwrap_or(text.len());
    let mut changed = match find(&text[..header], b"Flag=") {
        Some(at) => {
            let from = at + b"Flag=".len();
            let until = text[from..]
                .iter()
                .position(|b| *b == b';')
                .map_or(text.len(), |n| from + n);
            [&text[..from], flag.to_string().as_bytes(), &text[until..]].concat()
        }
        None => [
            &text[..header],
            format!("Flag={flag};").as_bytes(),
            &text[header..],
        ]
        .concat(),
    };
    let sum = crc(&changed);
    let head = format!("##{:04}", changed.len()).into_bytes();
    (changed.len() <= 9999).then(|| {
        changed.extend_from_slice(format!("{sum:04X}\r\n").as_bytes());
        [head, changed].concat()
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn framed(text: &str) -> Vec<u8> {
        format!("##{:04}{text}{:04X}\r\n", text.len(), crc(text.as_bytes())).into_bytes()
    }

    #[test]
    fn a_frame_goes_as_it_came_or_asks_for_its_receipt() {
        for (came, goes) in [
            (
                "QN=1;ST=22;CN=2011;PW=1;MN=A;Flag=5;CP=&&DataTime=1&&",
                "Flag=5;CP",
            ),
            (
                "QN=1;ST=22;CN=2011;PW=1;MN=A;Flag=4;CP=&&DataTime=1&&",
                "Flag=5;CP",
            ),
            (
                "QN=1;ST=22;CN=2011;PW=1;MN=A;Flag=10;PNUM=2;PNO=1;CP=&&&&",
                "Flag=11;PNUM",
            ),
            (
                "QN=1;ST=22;CN=2011;PW=1;MN=A;CP=&&DataTime=1;x-Flag=4&&",
                "Flag=1;CP=&&DataTime=1;x-Flag=4",
            ),
        ] {
            let out = outgoing(7, &framed(came)).unwrap();
            assert_eq!(
                (out.position, &*out.mn, &*out.qn, out.is_answered),
                (7, "A", "1", true)
            );
            let text = String::from_utf8(out.bytes.clone()).unwrap();
            assert!(text.contains(goes), "{text}");
            let pieces = Framer::new(MAX_SEGMENT).push(&out.bytes);
            assert!(matches!(pieces[..], [Piece::Frame { .. }]), "{text}");
        }
        let answer = framed("QN=1;ST=91;CN=9012;PW=1;MN=A;Flag=4;CP=&&ExeRtn=1&&");
        assert_eq!(outgoing(1, &answer), None);
        assert_eq!(outgoing(1, b"no frame"), None);
    }
}
