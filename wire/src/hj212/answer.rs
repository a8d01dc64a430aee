//! Answers: 9011 and 9012 to requests, 9013 to notices, 9014 to data.
//!
//! Each repeats the QN of what it answers and is written in its edition. In 2005 the QN stands in CP.

use super::codes::{ExeRtn, QnRtn};
use super::flag::{Flag, Version};
use super::segment::{Group, Item, Segment};

/// System code of answers.
const INTERACTION: &str = "91";

/// 9011: whether a request will be executed. `pw` is the password of the one that answers; a centre repeats
/// the one it was sent.
pub fn request_answer(to: &Segment, pw: &str, code: QnRtn) -> Segment {
    answer(to, pw, "9011", Some(Item::new("QnRtn", code.code().to_string())))
}

/// 9012: what became of a request.
pub fn execution_answer(to: &Segment, pw: &str, code: ExeRtn) -> Segment {
    answer(to, pw, "9012", Some(Item::new("ExeRtn", code.code().to_string())))
}

/// 9013: a notice has come.
pub fn notice_answer(to: &Segment, pw: &str) -> Segment {
    answer(to, pw, "9013", None)
}

/// 9014: data have come, and are durable.
pub fn data_answer(to: &Segment, pw: &str) -> Segment {
    answer(to, pw, "9014", None)
}

fn answer(to: &Segment, pw: &str, cn: &str, result: Option<Item>) -> Segment {
    let version = to.version();
    let flag = Flag::new(version, false, false).0.to_string();
    let is_2005 = version == Version::V2005;
    let mut header = Vec::new();
    let mut cp = Vec::new();
    let qn = Some(Item::new("QN", to.qn())).filter(|_| !to.qn().is_empty());
    match is_2005 {
        true => cp.extend(qn.map(|item| Group(vec![item]))),
        false => header.extend(qn),
    }
    cp.extend(result.map(|item| Group(vec![item])));
    header.extend([
        Item::new("ST", INTERACTION),
        Item::new("CN", cn),
        Item::new("PW", pw),
        Item::new("MN", to.mn()),
        Item::new("Flag", flag),
    ]);
    Segment {
        header,
        cp,
        ..Segment::default()
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// 9011; `None` is a code that the standard does not have.
    Request(Option<QnRtn>),
    /// 9012; `None` is a code that the standard does not have.
    Execution(Option<ExeRtn>),
    /// 9013.
    Notice,
    /// 9014.
    Data,
    /// 9014 with a QnRtn other than 1, as some platforms refuse data: it was not taken. `None` is a code that the standard
    /// does not have.
    Refused(Option<QnRtn>),
}

impl Answered {
    /// What a segment answers, and the QN of what it answers; `None` when it is no answer.
    pub fn of(segment: &Segment) -> Option<(&str, Self)> {
        let code = |key| segment.cp_value(key).unwrap_or_default();
        let answered = match segment.cn() {
            "9011" => Self::Request(QnRtn::parse(code("QnRtn"))),
            "9012" => Self::Execution(ExeRtn::parse(code("ExeRtn"))),
            "9013" => Self::Notice,
            "9014" => match segment.cp_value("QnRtn") {
                None => Self::Data,
                Some(code) => match QnRtn::parse(code) {
                    Some(QnRtn::Accepted) => Self::Data,
                    other => Self::Refused(other),
                },
            },
            _ => return None,
        };
        let qn = match segment.qn() {
            "" => code("QN"),
            qn => qn,
        };
        Some((qn, answered))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn data_are_taken_by_9014_unless_it_says_that_they_are_not() {
        let said = |cp: &str| {
            let answer = format!("QN=7;ST=91;CN=9014;PW=1;MN=A;Flag=4;CP=&&{cp}&&");
            let answer = Segment::parse(answer.as_bytes()).unwrap();
            Answered::of(&answer).map(|(qn, answered)| (qn.to_owned(), answered))
        };
        for (cp, want) in [
            ("", Answered::Data),
            ("QnRtn=1", Answered::Data),
            ("QnRtn=3", Answered::Refused(Some(QnRtn::WrongPw))),
            ("QnRtn=77", Answered::Refused(None)),
            ("QnRtn=", Answered::Refused(None)),
        ] {
            assert_eq!(said(cp), Some(("7".to_owned(), want)), "{cp}");
        }
    }

    #[test]
    fn answers_are_in_the_edition_of_what_they_answer() {
        for (flag, want) in [
            ("Flag=5;", "QN=7;ST=91;CN=9011;PW=1;MN=A;Flag=4;CP=&&QnRtn=9&&"),
            ("Flag=9;", "QN=7;ST=91;CN=9011;PW=1;MN=A;Flag=8;CP=&&QnRtn=9&&"),
            ("Flag=1;", "ST=91;CN=9011;PW=1;MN=A;Flag=0;CP=&&QN=7;QnRtn=9&&"),
            ("", "ST=91;CN=9011;PW=1;MN=A;Flag=0;CP=&&QN=7;QnRtn=9&&"),
        ] {
            let asked = format!("QN=7;ST=22;CN=2011;PW=1;MN=A;{flag}CP=&&&&");
            let asked = Segment::parse(asked.as_bytes()).unwrap();
            let answer = request_answer(&asked, "1", QnRtn::WrongCrc);
            assert_eq!(answer.text(), want);
            let read = Answered::Request(Some(QnRtn::WrongCrc));
            assert_eq!(Answered::of(&answer), Some(("7", read)));
        }
    }
}
