//! HJ 212: monitoring stations and emission sources over TCP, editions 2005, 2017 and 2025.
//!
//! Bytes → [`Framer`] → [`Frame`] → [`decode`] → [`Segment`]. Pure: connections, timeouts and who may speak are
//! the server's. A frame is read in the edition its Flag tells, and answered in it.

mod answer;
mod codes;
mod crc;
mod decode;
mod encode;
mod factor;
mod fields;
mod flag;
mod framer;
mod information;
mod interval;
mod joining;
mod order;
mod readings;
mod request;
mod seal;
mod segment;
pub mod stamp;
mod view;

pub use answer::{Answered, data_answer, execution_answer, notice_answer, request_answer};
pub use codes::{Command, ExeRtn, Kind, QnRtn, command_of, system_of};
pub use crc::{crc, modbus_crc};
pub use decode::{DecodeError, decode, decode_with, segment_of};
pub use encode::{EncodeError, MAX_CP, encode, split};
pub use factor::{Factor, Measure, factor_of};
pub use fields::{Known, known_field};
pub use flag::{Flag, Version};
pub use framer::{Fault, FaultKind, Frame, FrameError, Framer, MAX_SEGMENT, Piece, STANDARD_SEGMENT};
pub use interval::MinuteData;
pub use joining::{JoinFault, JoinLimits, Joined, Joiner};
pub use order::{METHODS, method_of, request_of};
pub use readings::{MINUTE_DATA, Minutes, Sender, is_measured, mark_of, readings};
pub use request::{AnalyserCommand, History, MINUTE_INTERVALS, Peer, Request, RequestError};
pub use seal::{Key, KeyError, SealError, encode_sealed, is_sealed_command, unseal};
pub use segment::{Group, HEADER, Item, Quirk, Segment, SegmentError};
pub use view::{FactorValue, View, view};
