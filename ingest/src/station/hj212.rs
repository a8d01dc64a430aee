//! HJ 212 on a connection: who sends a frame, and what the standard answers.
//!
//! Data are answered with 9014 and notices with 9013 when bit A of their Flag asks for it, in the Flag's edition and
//! with the sender's own password. A station whose password is wrong and a frame whose CRC is wrong get 9011 with
//! QnRtn 3 and 9; an unknown station gets nothing.
//!
//! What is encrypted is kept as it came, and answered when a key of its station opens it or it has none here: then the bytes
//! wait in the quarantine for the key. One that no key opens is damaged or of another key, and is refused as a wrong CRC is.

use onemap_model::{Refusal, Source};
use onemap_wire::decode::hj212_refusal;
use onemap_wire::hj212::{
    self, DecodeError, Fault, FaultKind, Frame, Framer, Kind, Piece, QnRtn, Segment, command_of,
};

use super::server::Shared;
use super::{Denied, Dialect, Intake, Speaks};

/// The framer copies what it has not cut yet for every frame: it is given so much at a time.
const PORTION: usize = 4096;

pub(super) struct Hj212 {
    framer: Framer,
}

impl Dialect for Hj212 {
    const SOURCE: Source = Source::Hj212;

    fn new(shared: &Shared) -> Self {
        Self {
            framer: Framer::new(shared.config.limits.segment_bytes),
        }
    }

    fn push(&mut self, bytes: &[u8], intake: &mut Intake) {
        for portion in bytes.chunks(PORTION) {
            for piece in self.framer.push(portion) {
                take(piece, intake);
            }
        }
    }

    fn give_up(&mut self, intake: &mut Intake) {
        for piece in self.framer.give_up() {
            take(piece, intake);
        }
    }

    fn n_waiting(&self) -> usize {
        self.framer.n_waiting()
    }
}

fn take(piece: Piece, intake: &mut Intake) {
    match piece {
        // Of an encrypted frame this is its header: CP alone is encrypted.
        Piece::Frame { frame, bytes, .. } => match Segment::parse(&frame.segment) {
            Ok(segment) => take_segment(&segment, &frame, &bytes, intake),
            Err(error) => {
                let error = DecodeError::Segment(error);
                let detail = format!("{}: {error}", error.code());
                intake.refuse_unread(hj212_refusal(&error), None, "", &bytes, &detail);
            }
        },
        Piece::Fault(fault) => take_fault(&fault, intake),
    }
}

fn take_segment(segment: &Segment, frame: &Frame, bytes: &[u8], intake: &mut Intake) {
    let topic = topic(segment.cn());
    match admit(segment, intake) {
        Ok(device) => {
            let opened = match opened(segment.mn(), frame, intake) {
                Ok(opened) => opened,
                Err(error) => {
                    let detail = format!("{}: {error}", error.code());
                    let id = Some(device.as_str());
                    intake.refuse(hj212_refusal(&error), id, topic, bytes, &detail);
                    if segment.wants_answer() && !is_answer(segment) {
                        let answer = hj212::request_answer(segment, segment.pw(), QnRtn::WrongCrc);
                        say(&answer, intake);
                    }
                    return;
                }
            };
            intake.keep(&device, topic, bytes);
            // Of one that is not open yet, the numbers are known and its DataTime is not.
            if let Some(plain) = opened.as_ref().or((!frame.sealed).then_some(segment)) {
                intake.note_packet(&device, plain, bytes);
            }
            if segment.wants_answer()
                && let Some(answer) = answer_to(segment)
            {
                say(&answer, intake);
            }
        }
        Err(denied) => {
            intake.deny(denied, segment.mn(), topic, bytes);
            if denied == Denied::WrongPassword && segment.wants_answer() {
                say(
                    &hj212::request_answer(segment, segment.pw(), QnRtn::WrongPw),
                    intake,
                );
            }
        }
    }
}

/// An encrypted frame opened with the keys of now; `None` when it is plain, and when its station has no key: that is not
/// refused here.
fn opened(mn: &str, frame: &Frame, intake: &mut Intake) -> Result<Option<Segment>, DecodeError> {
    if !frame.sealed {
        return Ok(None);
    }
    let keys = intake.shared.keys.of(mn);
    if keys.is_empty() {
        return Ok(None);
    }
    let (segment, used) = hj212::decode_with(frame, &keys)?;
    if let Some(used) = used {
        intake.sealed_with(mn, &keys, used);
    }
    Ok(Some(segment))
}

fn admit(segment: &Segment, intake: &mut Intake) -> Result<onemap_model::DeviceId, Denied> {
    let speaks = |former: Option<&Speaks>| {
        // Answers have a system code of their own, and often another Flag: those of the last data frame stand.
        let (st, version) = match former {
            Some(Speaks::Hj212(former)) if is_answer(segment) => (former.st.clone(), former.version),
            _ => (segment.st().to_owned(), segment.version()),
        };
        Speaks::Hj212(hj212::Peer {
            st,
            pw: segment.pw().to_owned(),
            mn: segment.mn().to_owned(),
            version,
        })
    };
    let is_same = |known: &Speaks| {
        let Speaks::Hj212(known) = known else { return false };
        is_answer(segment) || (known.st == segment.st() && known.version == segment.version())
    };
    intake.admit(segment.mn(), segment.pw(), speaks, is_same)
}

fn is_answer(segment: &Segment) -> bool {
    segment.st() == "91"
}

/// What the standard answers to what came up; nothing to an answer.
fn answer_to(segment: &Segment) -> Option<Segment> {
    let kind = command_of(segment.cn(), segment.version()).map(|command| command.kind);
    match kind {
        Some(Kind::Answer) => None,
        Some(Kind::Notice) => Some(hj212::notice_answer(segment, segment.pw())),
        // What no edition has was kept all the same.
        _ => Some(hj212::data_answer(segment, segment.pw())),
    }
}

fn say(answer: &Segment, intake: &mut Intake) {
    // An answer repeats a header of the sender's, which came within the limit of a segment.
    if let Ok(bytes) = hj212::encode(answer) {
        intake.answer(&bytes);
    }
}

fn take_fault(fault: &Fault, intake: &mut Intake) {
    let kind = fault.error.kind;
    let refusal = match kind {
        FaultKind::CrcMismatch | FaultKind::CrcNotHex => Refusal::CrcMismatch,
        FaultKind::CrcModbus => Refusal::CrcModbus,
        FaultKind::OverLimit => Refusal::OverSize,
        _ => Refusal::BrokenFrame,
    };
    // Who sent a frame that is whole but for its CRC is told, when it is somebody.
    let segment = fault.segment().and_then(|bytes| Segment::parse(bytes).ok());
    let sender = segment.as_ref().and_then(|segment| admit(segment, intake).ok());
    let detail = format!(
        "{}: {} at byte {} of the stream",
        fault.error.code(),
        fault.error,
        fault.at
    );
    let topic = segment.as_ref().map_or("hj212", |segment| topic(segment.cn()));
    match &segment {
        Some(_) => {
            let device = sender.as_ref().map(onemap_model::DeviceId::as_str);
            intake.refuse(refusal, device, topic, &fault.skipped, &detail);
        }
        None => intake.refuse_unread(refusal, None, topic, &fault.skipped, &detail),
    }
    if let (Some(segment), Some(_)) = (segment, sender)
        && segment.wants_answer()
        && !is_answer(&segment)
    {
        say(
            &hj212::request_answer(&segment, segment.pw(), QnRtn::WrongCrc),
            intake,
        );
    }
}

/// What stands as topic in the journal: the protocol, and the command where the standard has it.
fn topic(cn: &str) -> &'static str {
    macro_rules! topics {
        ($($cn:literal)*) => {
            match cn {
                $($cn => concat!("hj212/", $cn),)*
                _ => "hj212",
            }
        };
    }
    topics!(
        "1000" "1001" "1011" "1012" "1013" "1014" "1061" "1062" "1063" "1064" "1072" "2011" "2012" "2013" "2021"
        "2022" "2031" "2041" "2051" "2052" "2061" "2062" "2071" "2072" "2081" "2111" "3011" "3012" "3013" "3014"
        "3015" "3016" "3017" "3018" "3019" "3020" "3021" "9011" "9012" "9013" "9014" "9015"
    )
}
