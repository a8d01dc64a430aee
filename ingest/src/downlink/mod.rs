//! Commands on their way down: which there are, which are due, and what their messages look like.
//!
//! [`Book`] is the pure state machine that the pipeline folds journal records into; [`Outbox`] decides, also
//! without clock or I/O, which waiting commands are to be handed to a connection now; [`message`] makes and
//! reads the messages; [`Calls`] decides the same for field stations. [`Desk`] is where pipeline, sender and requests meet.

mod book;
mod calls;
mod desk;
pub mod message;
mod outbox;
mod sealing;

pub use book::{Answered, Asked, Book, Change, Ordered, REMEMBERED};
pub use calls::{CallRules, Calls, Next, Session, Then, qn_of, sequence_of, serial_of};
pub use desk::{Claim, ClockAsked, Desk, Limits, Work};
pub use outbox::{Due, Outbox, Rules};
pub use sealing::{KEY_FILE, SealError, Sealer};
