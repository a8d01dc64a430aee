//! Requests to field stations: which waiting command goes to a station's connection now, when it goes again, and
//! when the connection is given up. Pure: what time it is and who is connected are arguments.
//!
//! One request of a station at a time waits for its receipt (HJ 212: 9011) or its answer (SL 651). Without one in time it
//! is sent again with the same number, as often as the standard has it. Then the connection is given up (HJ 212), or the
//! station's next session is waited for while others of its requests go (SL 651); the command waits on, until its time is
//! over. One whose receipt has come is not sent again: only its end is waited for.

use std::collections::HashMap;
use std::time::Duration;

use onemap_model::{Command, Timestamp};
use onemap_wire::hj212::stamp;

use super::Book;

/// How a station is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRules {
    /// How long a receipt is waited for (10 s).
    pub answer: Duration,
    /// How often a request is sent again (HJ 212: 3, SL 651: 2).
    pub repeats: u32,
    /// What comes after the last repeat.
    pub then: Then,
}

/// What comes after the last repeat of a request without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The connection is given up: the station is not there.
    GiveUp,
    /// The request waits for the station's next session, others go.
    NextSession,
}

impl CallRules {
    /// Those of HJ 212: 10 s, three repeats, another connection.
    pub const HJ212: Self = Self {
        answer: Duration::from_secs(10),
        repeats: 3,
        then: Then::GiveUp,
    };
    /// Those of SL 651: 10 s, two repeats, the next session.
    pub const SL651: Self = Self {
        answer: Duration::from_secs(10),
        repeats: 2,
        then: Then::NextSession,
    };
}

/// On what a station is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Which connection.
    pub connection: u64,
    /// Which of the sessions on it: a station that stays connected begins one with each report.
    pub turn: u64,
}

/// What is to be done for one station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing now.
    Wait,
    /// This command goes.
    Send(u64),
    /// The station does not answer on this connection.
    GiveUp,
}

/// What this process has sent to stations.
#[derive(Debug)]
pub struct Calls {
    rules: CallRules,
    sent: HashMap<u64, Call>,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    session: Session,
    at: Timestamp,
    n: u32,
}

impl Calls {
    /// Nothing was sent yet.
    pub fn new(rules: CallRules) -> Self {
        Self {
            rules,
            sent: HashMap::new(),
        }
    }

    /// What is due in a session of a station, in the order of its commands; `is_claimed` says which are being
    /// taken back.
    pub fn next(
        &self,
        book: &Book,
        device: &str,
        session: Session,
        now: Timestamp,
        is_claimed: impl Fn(u64) -> bool,
    ) -> Next {
        let hold = self.rules.answer * (self.rules.repeats + 1);
        let is_due = |command: &&Command| {
            !command.is_final() && command.order.expires_at > now && !is_claimed(command.id)
        };
        // One at a time, also when an earlier one comes back with a new session.
        let is_under_way = |command: &Command| {
            let call = self.sent.get(&command.id);
            call.is_some_and(|call| {
                call.session.connection == session.connection && self.is_awaited(call, now)
            })
        };
        if self.rules.then == Then::NextSession && book.waiting(device).filter(is_due).any(is_under_way) {
            return Next::Wait;
        }
        for command in book.waiting(device).filter(is_due) {
            let call = self.sent.get(&command.id);
            let call = call.filter(|call| self.goes_on(call, session, now));
            if command.received {
                match call.filter(|call| is_within(call, now, hold)) {
                    Some(_) => return Next::Wait,
                    None => continue,
                }
            }
            return match call {
                Some(call) if self.is_awaited(call, now) => Next::Wait,
                Some(call) if call.n > self.rules.repeats => match self.rules.then {
                    Then::GiveUp => Next::GiveUp,
                    Then::NextSession => continue,
                },
                _ => Next::Send(command.id),
            };
        }
        Next::Wait
    }

    /// Whether a call belongs to this session: a report in the middle of one ends it for what was given up only.
    fn goes_on(&self, call: &Call, session: Session, now: Timestamp) -> bool {
        let is_under_way = call.n <= self.rules.repeats || self.is_awaited(call, now);
        call.session.connection == session.connection && (call.session.turn == session.turn || is_under_way)
    }

    /// Whether its answer may still come.
    fn is_awaited(&self, call: &Call, now: Timestamp) -> bool {
        is_within(call, now, self.rules.answer)
    }

    /// Notes that a command was handed to a connection.
    pub fn note(&mut self, id: u64, session: Session, now: Timestamp) {
        let n = match self.sent.get(&id) {
            Some(call) if self.goes_on(call, session, now) => call.n + 1,
            _ => 1,
        };
        let call = Call { session, at: now, n };
        self.sent.insert(id, call);
    }

    /// Forgets commands that no longer wait.
    pub fn forget(&mut self, book: &Book) {
        self.sent
            .retain(|id, _| book.get(*id).is_some_and(|command| !command.is_final()));
    }
}

/// A clock that was set back must not hold a call for ever.
fn is_within(call: &Call, now: Timestamp, limit: Duration) -> bool {
    now >= call.at && now.since(call.at) < limit
}

/// The number that a command has in an SL 651 station's session, 1 to 65535. The same for every repeat.
pub fn serial_of(command: &Command) -> u16 {
    ((command.id - 1) % 65_535 + 1) as u16
}

/// The request number of a command: when it was ordered, with its own number in place of the milliseconds. The same
/// for every repeat, and found again after a restart.
pub fn qn_of(command: &Command) -> String {
    let ms = command.created_at.ms();
    let second = ms - ms.rem_euclid(1000);
    stamp::qn(Timestamp::from_ms(second + (command.id % 1000) as i64))
}

/// The sequence of a command to a GB/T 26875.3 device: its own number as far as two bytes go. The same for every repeat,
/// and one more for the next command.
pub fn sequence_of(command: &Command) -> u16 {
    (command.id & 0xFFFF) as u16
}

/// The last three digits of the number of the command that has this request number; `None` for a text that no
/// command has.
pub(super) fn end_of(qn: &str) -> Option<u64> {
    let is_ours = qn.len() == 17 && qn.bytes().all(|b| b.is_ascii_digit());
    is_ours.then(|| qn[14..].parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{CommandRecord, CommandStep, DeviceId, Order, Scope, Via};
    use serde_json::json;

    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(1_795_392_000_250 + s * 1000)
    }

    fn step(book: &mut Book, position: u64, s: i64, what: CommandStep) {
        let record = CommandRecord { at: at(s), what };
        book.step(position, at(s), &record, &mut Vec::new());
    }

    fn order(book: &mut Book, position: u64, life_s: i64) {
        let order = Order {
            device: DeviceId::new("M1").unwrap(),
            method: "read_clock".to_owned(),
            params: json!({}),
            two_way: true,
            expires_at: at(life_s),
            key: None,
            via: Via::Auto,
            by: Scope::local("test"),
        };
        step(book, position, 0, CommandStep::Created(Box::new(order)));
    }

    fn on(connection: u64) -> Session {
        Session { connection, turn: 0 }
    }

    fn next(calls: &Calls, book: &Book, connection: u64, s: i64) -> Next {
        calls.next(book, "M1", on(connection), at(s), |_| false)
    }

    #[test]
    fn a_question_without_an_answer_waits_for_the_next_session_and_lets_others_go() {
        let mut book = Book::default();
        order(&mut book, 1, 3000);
        order(&mut book, 2, 3000);
        let mut calls = Calls::new(CallRules::SL651);
        let in_turn = |calls: &Calls, turn, s| {
            let session = Session { connection: 7, turn };
            calls.next(&book, "M1", session, at(s), |_| false)
        };
        for n in 0..3 {
            assert_eq!(in_turn(&calls, 0, n * 10), Next::Send(1));
            calls.note(1, on(7), at(n * 10));
            // A report that comes meanwhile changes nothing: the answer is still waited for.
            assert_eq!(in_turn(&calls, u64::from(n == 1), n * 10 + 9), Next::Wait);
        }
        assert_eq!(in_turn(&calls, 0, 30), Next::Send(2));
        calls.note(2, on(7), at(30));
        assert_eq!(in_turn(&calls, 1, 39), Next::Wait, "one at a time");
        assert_eq!(
            in_turn(&calls, 1, 40),
            Next::Send(1),
            "the next report is another session"
        );
        let session = Session {
            connection: 7,
            turn: 1,
        };
        calls.note(1, session, at(40));
        assert_eq!(in_turn(&calls, 1, 41), Next::Wait);
        assert_eq!(
            next(&calls, &book, 8, 42),
            Next::Send(1),
            "so is another connection"
        );
    }

    #[test]
    fn a_request_is_repeated_then_the_connection_is_given_up_and_the_next_gets_it() {
        let mut book = Book::default();
        order(&mut book, 1, 300);
        order(&mut book, 2, 300);
        let mut calls = Calls::new(CallRules::HJ212);
        assert_eq!(
            calls.next(&book, "M1", on(7), at(0), |id| id == 1),
            Next::Send(2),
            "being taken back"
        );
        for n in 0..4 {
            assert_eq!(next(&calls, &book, 7, n * 10), Next::Send(1));
            calls.note(1, on(7), at(n * 10));
            assert_eq!(next(&calls, &book, 7, n * 10 + 9), Next::Wait);
        }
        assert_eq!(next(&calls, &book, 7, 40), Next::GiveUp);
        assert_eq!(next(&calls, &book, 8, 41), Next::Send(1));
        calls.note(1, on(8), at(41));
        // After its receipt its end is waited for, and it is not sent again on any connection.
        step(&mut book, 3, 42, CommandStep::Received { id: 1 });
        assert_eq!(next(&calls, &book, 8, 80), Next::Wait);
        assert_eq!(next(&calls, &book, 8, 81), Next::Send(2));
        assert_eq!(next(&Calls::new(CallRules::HJ212), &book, 9, 43), Next::Send(2));
        // Never at or after its end.
        assert_eq!(next(&calls, &book, 8, 300), Next::Wait);
        book.tick(4, at(301), &mut Vec::new());
        calls.forget(&book);
        assert!(calls.sent.is_empty());
    }

    #[test]
    fn a_command_is_found_by_its_request_number() {
        let mut book = Book::default();
        for position in 1..=3 {
            order(&mut book, position, 300);
        }
        assert_eq!(sequence_of(book.get(2).unwrap()), 2);
        assert_eq!(book.by_sequence("M1", 2).map(|command| command.id), Some(2));
        assert!(book.by_sequence("M1", 4).is_none() && book.by_sequence("M2", 2).is_none());
        let qn = qn_of(book.get(2).unwrap());
        assert_eq!((qn.len(), &qn[14..]), (17, "002"));
        assert_eq!(book.by_qn("M1", &qn).map(|command| command.id), Some(2));
        for (device, qn) in [
            ("M2", qn.as_str()),
            ("M1", "20261126080000002"),
            ("M1", ""),
            ("M1", "x"),
        ] {
            assert!(book.by_qn(device, qn).is_none(), "{device} {qn}");
        }
    }
}
