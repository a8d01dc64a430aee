//! Registers to values: which registers a profile reads, and what their words mean.
//!
//! Pure: polling, time-outs and connections are the gateway's. Addresses are those on the wire, from 0
//! (the "40001" of a manual is holding register 0).

use std::time::Duration;

use onemap_model::Quantity;
use serde::Deserialize;

use crate::Scaling;

/// Most registers one request may ask for (Modbus application protocol 1.1b3, 6.3).
pub const MAX_READ_REGISTERS: u16 = 125;
/// Most coils or discrete inputs one request may ask for (6.1).
pub const MAX_READ_BITS: u16 = 2000;

/// One of a slave's four tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Holding registers, function 3.
    #[default]
    Holding,
    /// Input registers, function 4.
    Input,
    /// Coils, function 1.
    Coil,
    /// Discrete inputs, function 2.
    Discrete,
}

impl Table {
    /// Whether its items are bits and not words.
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coil | Table::Discrete)
    }
    fn max_read(self) -> u16 {
        if self.is_bits() {
            MAX_READ_BITS
        } else {
            MAX_READ_REGISTERS
        }
    }
}

/// How a value lies in its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum WordType {
    U16,
    I16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
    /// 0 is false, everything else true.
    Bool,
}

impl WordType {
    /// How many registers one value takes.
    pub fn words(self) -> u16 {
        match self {
            WordType::U16 | WordType::I16 | WordType::Bool => 1,
            WordType::U32 | WordType::I32 | WordType::F32 => 2,
            WordType::U64 | WordType::I64 | WordType::F64 => 4,
        }
    }
}

/// In which order the bytes of a value come, written for the four bytes A (highest) to D.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// ABCD, as Modbus itself.
    #[default]
    Big,
    /// DCBA: all bytes turned round.
    Little,
    /// BADC: the bytes of each register swapped.
    BigSwapped,
    /// CDAB: the registers turned round, their bytes not.
    LittleSwapped,
}

/// One line of a register list: `count` values of one kind after one another.
#[derive(Clone, Debug, PartialEq)]
pub struct Register {
    /// Table.
    pub table: Table,
    /// First address, from 0.
    pub address: u16,
    /// Type of each value.
    pub word_type: WordType,
    /// Byte order of each value.
    pub order: Order,
    /// How many values follow one another; each is the next channel.
    pub count: u16,
    /// What they measure.
    pub quantity: Quantity,
    /// Channel of the first.
    pub channel: u16,
    /// To the canonical unit.
    pub scaling: Scaling,
}

impl Register {
    /// Address of value `i`; profiles are checked so that it fits.
    fn address_of(&self, i: u16) -> u16 {
        self.address + i * self.word_type.words()
    }
    /// First address after it, at most 65,536.
    pub(crate) fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.count) * u32::from(self.word_type.words())
    }
}

/// What a profile reads from a slave. Made by [`crate::Profile::parse`], which checks it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterMap {
    /// Unit id (slave address).
    pub unit: u8,
    /// Time from one poll to the next.
    pub poll: Duration,
    /// In the order of table and address.
    pub registers: Vec<Register>,
    /// Raw values that mean "no value".
    pub sentinels: Vec<f64>,
}

/// One request to the slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Table.
    pub table: Table,
    /// First address.
    pub start: u16,
    /// How many registers or bits.
    pub count: u16,
}

impl RegisterMap {
    /// The fewest requests that read every register: neighbours are joined up to the protocol's limit,
    /// a value is never cut in two, and no address is read that the profile does not name (many slaves
    /// answer a gap with an exception).
    pub fn read_plan(&self) -> Vec<Read> {
        let mut plan: Vec<Read> = Vec::new();
        for register in &self.registers {
            let words = register.word_type.words();
            for i in 0..register.count {
                let start = register.address_of(i);
                if let Some(last) = plan.last_mut()
                    && last.table == register.table
                    && u32::from(last.start) + u32::from(last.count) == u32::from(start)
                    && last.count + words <= last.table.max_read()
                {
                    last.count += words;
                } else {
                    plan.push(Read {
                        table: register.table,
                        start,
                        count: words,
                    });
                }
            }
        }
        plan
    }
}

/// Values from the words that answered `read`, canonical. A sentinel is handed on raw, so that
/// admission finds and names it; a value whose words are missing is left out (the answer was short).
/// Floats may be NaN.
pub fn decode_registers(map: &RegisterMap, read: Read, words: &[u16]) -> Vec<(Quantity, u16, f64)> {
    decode(map, read, |register, at| {
        let words = words.get(at..at + usize::from(register.word_type.words()))?;
        Some(number(register.word_type, register.order, words))
    })
}

/// Values from the coils or discrete inputs that answered `read`, as 0 and 1.
pub fn decode_bits(map: &RegisterMap, read: Read, bits: &[bool]) -> Vec<(Quantity, u16, f64)> {
    decode(map, read, |_, at| {
        bits.get(at).map(|bit| f64::from(u8::from(*bit)))
    })
}

fn decode(
    map: &RegisterMap,
    read: Read,
    raw_at: impl Fn(&Register, usize) -> Option<f64>,
) -> Vec<(Quantity, u16, f64)> {
    let mut values = Vec::new();
    let read_end = u32::from(read.start) + u32::from(read.count);
    for register in map.registers.iter().filter(|r| r.table == read.table) {
        for i in 0..register.count {
            let address = register.address_of(i);
            if address < read.start || u32::from(address) >= read_end {
                continue;
            }
            let Some(raw) = raw_at(register, usize::from(address - read.start)) else {
                continue;
            };
            let value = if map.sentinels.contains(&raw) {
                raw
            } else {
                // A checked profile has only units that its quantities know.
                register.scaling.apply(register.quantity, raw).unwrap_or(f64::NAN)
            };
            values.push((register.quantity, register.channel + i, value));
        }
    }
    values
}

/// The number in one value's words.
fn number(word_type: WordType, order: Order, words: &[u16]) -> f64 {
    let mut bytes = [0u8; 8];
    let size = words.len() * 2;
    for (pair, word) in bytes.chunks_exact_mut(2).zip(words) {
        pair.copy_from_slice(&word.to_be_bytes());
    }
    let value = &mut bytes[..size];
    match order {
        Order::Big => {}
        Order::Little => value.reverse(),
        Order::BigSwapped => value.chunks_exact_mut(2).for_each(<[u8]>::reverse),
        Order::LittleSwapped => {
            value.reverse();
            value.chunks_exact_mut(2).for_each(<[u8]>::reverse);
        }
    }
    let [a, b, c, d, ..] = bytes;
    match word_type {
        WordType::U16 => f64::from(u16::from_be_bytes([a, b])),
        WordType::I16 => f64::from(i16::from_be_bytes([a, b])),
        WordType::Bool => f64::from(u8::from(a != 0 || b != 0)),
        WordType::U32 => f64::from(u32::from_be_bytes([a, b, c, d])),
        WordType::I32 => f64::from(i32::from_be_bytes([a, b, c, d])),
        WordType::F32 => f64::from(f32::from_be_bytes([a, b, c, d])),
        // Counters beyond 2^53 lose their last digits: values are f64 everywhere.
        WordType::U64 => u64::from_be_bytes(bytes) as f64,
        WordType::I64 => i64::from_be_bytes(bytes) as f64,
        WordType::F64 => f64::from_be_bytes(bytes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn register(address: u16, word_type: WordType, count: u16) -> Register {
        Register {
            table: Table::Holding,
            address,
            word_type,
            order: Order::Big,
            count,
            quantity: Quantity::named("counter").unwrap(),
            channel: address,
            scaling: Scaling::NONE,
        }
    }

    fn map(registers: Vec<Register>) -> RegisterMap {
        RegisterMap {
            unit: 1,
            poll: Duration::from_millis(100),
            registers,
            sentinels: vec![-999.0],
        }
    }

    #[test]
    fn every_order_gives_the_same_number() {
        // 123456.789 as f32 is 47 F1 20 65.
        for (order, words) in [
            (Order::Big, [0x47F1, 0x2065]),
            (Order::Little, [0x6520, 0xF147]),
            (Order::BigSwapped, [0xF147, 0x6520]),
            (Order::LittleSwapped, [0x2065, 0x47F1]),
        ] {
            assert_eq!(
                number(WordType::F32, order, &words),
                f64::from(123_456.79_f32),
                "{order:?}"
            );
        }
        assert_eq!(
            number(WordType::U64, Order::LittleSwapped, &[4, 3, 2, 1]),
            281_483_566_841_860.0
        );
        assert_eq!(number(WordType::I16, Order::Little, &[0xFFFF]), -1.0);
        assert_eq!(number(WordType::I32, Order::Big, &[0xFFFF, 0xFFFE]), -2.0);
        assert_eq!(
            number(WordType::I64, Order::Big, &[0xFFFF, 0xFFFF, 0xFFFF, 0xFFFD]),
            -3.0
        );
        assert_eq!(number(WordType::F64, Order::Big, &[0x3FF8, 0, 0, 0]), 1.5);
        assert_eq!(number(WordType::U32, Order::Big, &[0x8000, 0]), 2_147_483_648.0);
        assert_eq!(number(WordType::Bool, Order::Big, &[0x0100]), 1.0);
    }

    #[test]
    fn neighbours_are_read_together_and_no_value_is_cut() {
        let read = |start, count| Read {
            table: Table::Holding,
            start,
            count,
        };
        let plan = map(vec![
            register(0, WordType::U16, 20),
            register(20, WordType::F32, 2),
        ])
        .read_plan();
        assert_eq!(plan, [read(0, 24)]);
        let plan = map(vec![register(0, WordType::U16, 1), register(2, WordType::U16, 1)]).read_plan();
        assert_eq!(plan, [read(0, 1), read(2, 1)]);
        // 62 f32 are 124 registers; the next would be cut at 125.
        let plan = map(vec![register(0, WordType::F32, 100)]).read_plan();
        assert_eq!(plan, [read(0, 124), read(124, 76)]);
        let plan = map(vec![register(65_000, WordType::U16, 536)]).read_plan();
        assert_eq!(plan.iter().map(|r| u32::from(r.count)).sum::<u32>(), 536);
        assert!(plan.iter().all(|r| r.count <= MAX_READ_REGISTERS));
    }

    #[test]
    fn values_are_scaled_and_sentinels_stay_raw() {
        let mut level = register(10, WordType::I16, 3);
        level.quantity = Quantity::named("water_level").unwrap();
        level.channel = 0;
        level.scaling.scale = 0.01;
        let map = map(vec![level]);
        let read = map.read_plan()[0];
        let values: Vec<f64> = decode_registers(&map, read, &[123, (-999i16) as u16, 0xFFFF])
            .into_iter()
            .map(|(_, _, value)| value)
            .collect();
        assert_eq!(values, [1.23, -999.0, -0.01]);
        let short = decode_registers(&map, read, &[123]);
        assert_eq!(short.len(), 1, "what did not come is not invented");
    }

    #[test]
    fn a_part_of_the_list_is_decoded_by_its_own_start() {
        let map = map(vec![register(0, WordType::U16, 200)]);
        let plan = map.read_plan();
        let words: Vec<u16> = (125..200).collect();
        let values = decode_registers(&map, plan[1], &words);
        assert_eq!(values.len(), 75);
        assert!(
            values
                .iter()
                .all(|(_, channel, value)| f64::from(*channel) == *value)
        );
    }

    #[test]
    fn bits_are_zero_and_one() {
        let mut door = register(5, WordType::Bool, 2);
        door.table = Table::Coil;
        let map = map(vec![door]);
        let values = decode_bits(&map, map.read_plan()[0], &[true, false]);
        assert_eq!(values.iter().map(|v| v.2).collect::<Vec<_>>(), [1.0, 0.0]);
    }
}
