//! System codes and commands (`codes.json`, read once), and return codes.

use std::sync::OnceLock;

use serde::Deserialize;

use super::flag::Version;

/// How a command goes between centre and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// From the centre: 9011, then data if there are, then 9012.
    Request,
    /// The centre asks for it, or the device sends it by itself: 9014 when an answer is wanted.
    RequestOrUpload,
    /// From the device: 9014 when an answer is wanted.
    Upload,
    /// Answered by 9013, by whoever receives it.
    Notice,
    /// An answer; nobody answers it.
    Answer,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Its number.
    pub cn: u16,
    /// How it goes.
    pub kind: Kind,
    /// English name.
    pub en: String,
    /// Chinese name.
    pub zh: String,
    /// The editions that have the number with this meaning; all of them when none are named.
    #[serde(default)]
    editions: Vec<String>,
}

impl Command {
    fn is_of(&self, version: Version) -> bool {
        self.editions.iter().any(|edition| edition == version.name())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct System {
    st: String,
    en: String,
    zh: String,
}

/// `codes.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Codes {
    #[serde(rename = "about")]
    _about: String,
    #[serde(rename = "source")]
    _source: String,
    #[serde(rename = "verified")]
    _verified: String,
    editions: Vec<Dates>,
    commands: Vec<Command>,
    systems: Vec<System>,
}

/// From when to when an edition is in force. Frames are read in the edition of their Flag, whatever their day.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dates {
    edition: String,
    #[serde(rename = "valid_from")]
    _valid_from: String,
    #[serde(default, rename = "valid_to")]
    _valid_to: Option<String>,
}

impl Codes {
    fn parse(text: &str) -> Result<Self, String> {
        let all: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let is_known = |edition: &String| all.editions.iter().any(|one| one.edition == *edition);
        for (i, command) in all.commands.iter().enumerate() {
            if let Some(edition) = command.editions.iter().find(|edition| !is_known(edition)) {
                return Err(format!("{}: there is no edition {edition}", command.cn));
            }
            let same = |other: &&Command| {
                let shared = command
                    .editions
                    .iter()
                    .any(|edition| other.editions.contains(edition));
                other.cn == command.cn && (shared || command.editions.is_empty() || other.editions.is_empty())
            };
            if all.commands[..i].iter().any(|other| same(&other)) {
                return Err(format!("{} has two meanings in one edition", command.cn));
            }
        }
        Ok(all)
    }
}

fn codes() -> &'static Codes {
    static CODES: OnceLock<Codes> = OnceLock::new();
    CODES.get_or_init(|| {
        Codes::parse(include_str!("codes.json"))
            .expect("the codes are part of the program and their test reads them")
    })
}

/// The command of a number as the sender's edition has it; numbers of other editions are known too, the newest
/// meaning first. `None` for a number that no edition has.
pub fn command_of(cn: &str, version: Version) -> Option<&'static Command> {
    let is_number = cn.len() == 4 && cn.bytes().all(|b| b.is_ascii_digit());
    let cn: u16 = if is_number { cn.parse().ok()? } else { return None };
    // Places in the list of editions, which is in the order of time.
    let place = |command: &Command| {
        let of = |one: &Dates| command.editions.contains(&one.edition);
        codes().editions.iter().rposition(of)
    };
    let known = codes().commands.iter().filter(|command| command.cn == cn);
    known.max_by_key(|command| {
        (
            command.editions.is_empty() || command.is_of(version),
            place(command),
        )
    })
}

/// English and Chinese name of a system code.
pub fn system_of(st: &str) -> Option<(&'static str, &'static str)> {
    let system = codes().systems.iter().find(|system| system.st == st)?;
    Some((&system.en, &system.zh))
}

macro_rules! returns {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $code:literal, $label:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$item])* $variant,)* }

        impl $name {
            /// Every code, in the standard's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The number on the wire.
            pub fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }
            /// English name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
            /// The code that a text is.
            pub fn parse(text: &str) -> Option<Self> {
                let code: u8 = text.trim().parse().ok()?;
                Self::ALL.iter().copied().find(|known| known.code() == code)
            }
        }
    };
}

returns! {
    /// QnRtn: whether a request will be executed.
    QnRtn {
        /// It will.
        Accepted = 1, "will execute";
        /// It will not.
        Refused = 2, "refused";
        /// Password wrong.
        WrongPw = 3, "PW wrong";
        /// Device number wrong.
        WrongMn = 4, "MN wrong";
        /// System code wrong.
        WrongSt = 5, "ST wrong";
        /// Flag wrong.
        WrongFlag = 6, "Flag wrong";
        /// Request number wrong.
        WrongQn = 7, "QN wrong";
        /// Command wrong.
        WrongCn = 8, "CN wrong";
        /// CRC wrong.
        WrongCrc = 9, "CRC wrong";
        /// Unknown.
        Unknown = 100, "unknown fault";
    }
}

returns! {
    /// ExeRtn: what became of a request.
    ExeRtn {
        /// Done.
        Done = 1, "done";
        /// Failed, the cause is not known.
        Failed = 2, "failed, cause unknown";
        /// A condition is wrong.
        WrongCondition = 3, "condition wrong";
        /// Timeout.
        Timeout = 4, "timeout";
        /// Busy.
        Busy = 5, "busy";
        /// System fault.
        SystemFault = 6, "system fault";
        /// There are no data.
        NoData = 100, "no data";
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_number_means_what_the_edition_of_its_sender_says() {
        let name = |cn, version| command_of(cn, version).map(|c| c.en.as_str());
        assert_eq!(name("1001", Version::V2005), Some("set the warn time"));
        assert_eq!(name("1001", Version::V2025), Some("hardware number"));
        assert_eq!(name("2072", Version::V2017), Some("alarm event"));
        assert_eq!(name("9015", Version::V2017), Some("heartbeat"));
        for unknown in ["9999", "", "201", "+201", "02011", "２０１１"] {
            assert_eq!(name(unknown, Version::V2017), None, "{unknown}");
        }
        assert_eq!(system_of("22"), Some(("air", "空气质量监测")));
        assert_eq!(system_of("2"), None);
    }

    #[test]
    fn faults_in_the_data_are_told() {
        let text = include_str!("codes.json");
        Codes::parse(text).map(|_| ()).unwrap();
        for (from, to, why) in [
            ("\"cn\": 1011", "\"cn\": 1000", "1000 has two meanings"),
            ("[\"HJ 212-2025\"]", "[\"HJ 212-2024\"]", "no edition HJ 212-2024"),
            (
                "\"cn\": 1001, \"kind\": \"upload\"",
                "\"cn\": 1014, \"kind\": \"upload\"",
                "1014 has two meanings",
            ),
        ] {
            assert!(text.contains(from), "{from}");
            let error = Codes::parse(&text.replace(from, to)).map(|_| ()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn return_codes_read_back() {
        for code in QnRtn::ALL {
            assert_eq!(QnRtn::parse(&code.code().to_string()), Some(*code));
        }
        for code in ExeRtn::ALL {
            assert_eq!(ExeRtn::parse(&format!("{} ", code.code())), Some(*code));
        }
        assert_eq!((QnRtn::parse("10"), ExeRtn::parse("x")), (None, None));
    }
}
