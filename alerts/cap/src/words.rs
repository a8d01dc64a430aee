//! The words of the standard's lists. They are case-sensitive.

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the words are the standard's")]
        pub enum $name { $($word),* }

        impl $name {
            /// Every word, in the order of the standard.
            pub const ALL: &[Self] = &[$(Self::$word),*];
            /// The word as it stands in a message.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word)),* }
            }
        }
        impl Word for $name {
            fn of(text: &str) -> Option<Self> {
                match text { $(stringify!($word) => Some(Self::$word),)* _ => Self::older(text) }
            }
            fn known() -> String {
                [$(stringify!($word)),*].join(", ")
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

/// A list of words.
pub(crate) trait Word: Sized {
    /// The word that this text is.
    fn of(text: &str) -> Option<Self>;
    /// The list, for an error.
    fn known() -> String;
}

/// Words of older versions.
trait Older: Sized {
    fn older(_text: &str) -> Option<Self> {
        None
    }
}

words! {
    /// How a message is to be taken: only `Actual` is for action.
    Status { Actual, Exercise, System, Test, Draft }
    /// What a message is to those before it. `Update` and `Cancel` replace all that they reference.
    MsgType { Alert, Update, Cancel, Ack, Error }
    /// For whom it is.
    Scope { Public, Restricted, Private }
    /// The kind of event. Floods are `Met`.
    Category { Geo, Met, Safety, Security, Rescue, Fire, Health, Env, Transport, Infra, CBRNE, Other }
    /// What is asked of the audience.
    ResponseType { Shelter, Evacuate, Prepare, Execute, Avoid, Monitor, Assess, AllClear, None }
    /// How soon action is due.
    Urgency { Immediate, Expected, Future, Past, Unknown }
    /// How bad it is. This is neither the severity of an alarm (告警) nor a colour of air quality.
    Severity { Extreme, Severe, Moderate, Minor, Unknown }
    /// How sure it is. `Very Likely`, of CAP 1.0, is read as `Likely`.
    Certainty { Observed, Likely, Possible, Unlikely, Unknown }
}

impl Older for Status {}
impl Older for MsgType {}
impl Older for Scope {}
impl Older for Category {}
impl Older for ResponseType {}
impl Older for Urgency {}
impl Older for Severity {}
impl Older for Certainty {
    fn older(text: &str) -> Option<Self> {
        (text == "Very Likely").then_some(Self::Likely)
    }
}
