//! Rows as Parquet, row group by row group, so that a file of any length takes the memory of one.
//!
//! Columns as in the other formats, `value` in two: `value` for numbers and state codes, `text` for texts, one of
//! them null. Times are UTC milliseconds. Written with the low-level writer: there is no Arrow here.

use std::io::Write;
use std::sync::{Arc, Mutex};

use onemap_model::Value;
use onemap_store::history::Damage;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::Row;
use super::text::marks;

/// Rows of one group, at least: about ten megabytes while it is gathered.
const N_GROUP: usize = 65_536;

/// Name of the metadata that says which damaged rows are left out.
const DAMAGED: &str = "onemap.damaged";

const SCHEMA: &str = "message readings {
    REQUIRED BYTE_ARRAY device (STRING);
    REQUIRED BYTE_ARRAY quantity (STRING);
    REQUIRED INT32 channel (INTEGER(16,false));
    REQUIRED BYTE_ARRAY unit (STRING);
    REQUIRED INT64 measured_at (TIMESTAMP(MILLIS,true));
    REQUIRED INT64 received_at (TIMESTAMP(MILLIS,true));
    OPTIONAL DOUBLE value;
    OPTIONAL BYTE_ARRAY text (STRING);
    REQUIRED BYTE_ARRAY quality (STRING);
}";

/// What the file's writer has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

const POISON: &str = "no holder of this lock panics";

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect(POISON).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Rows of a group in the making, column by column.
#[derive(Default)]
struct Group {
    devices: Vec<ByteArray>,
    quantities: Vec<ByteArray>,
    channels: Vec<i32>,
    units: Vec<ByteArray>,
    measured: Vec<i64>,
    received: Vec<i64>,
    numbers: Vec<f64>,
    is_number: Vec<i16>,
    texts: Vec<ByteArray>,
    is_text: Vec<i16>,
    marks: Vec<ByteArray>,
}

/// A Parquet file in the making.
pub(super) struct Columns {
    file: SerializedFileWriter<Written>,
    written: Written,
    group: Group,
}

impl Columns {
    pub(super) fn new() -> Result<Self, ParquetError> {
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("onemap ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_max_row_group_row_count(None);
        for (column, encoding) in [
            ("measured_at", Encoding::DELTA_BINARY_PACKED),
            ("received_at", Encoding::DELTA_BINARY_PACKED),
            ("value", Encoding::BYTE_STREAM_SPLIT),
        ] {
            let column = ColumnPath::from(column);
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, encoding);
        }
        let schema = parse_message_type(SCHEMA)?;
        let written = Written::default();
        let file =
            SerializedFileWriter::new(written.clone(), Arc::new(schema), Arc::new(properties.build()))?;
        Ok(Self {
            file,
            written,
            group: Group::default(),
        })
    }

    pub(super) fn push(&mut self, Row { key, version }: &Row<'_>) {
        let Group {
            devices,
            quantities,
            channels,
            units,
            measured,
            received,
            numbers,
            is_number,
            texts,
            is_text,
            marks: all_marks,
        } = &mut self.group;
        let quantity = key.quantity.definition();
        // The same bytes as in the row before are shared with it.
        let put = |column: &mut Vec<ByteArray>, text: &str| {
            let before = column.last().filter(|before| before.data() == text.as_bytes());
            let bytes = before.cloned().unwrap_or_else(|| ByteArray::from(text));
            column.push(bytes);
        };
        put(devices, key.device.as_str());
        put(quantities, &quantity.name);
        put(units, &quantity.unit);
        put(all_marks, &marks(version.quality));
        channels.push(i32::from(key.channel));
        measured.push(version.measured_at.ms());
        received.push(version.received_at.ms());
        is_number.push(i16::from(matches!(version.value, Value::Number(_))));
        is_text.push(i16::from(matches!(version.value, Value::Text(_))));
        match &version.value {
            Value::Number(number) => numbers.push(*number),
            Value::Text(text) => put(texts, text),
        }
    }

    /// Puts what damaged rows took from it among the file's own metadata.
    pub(super) fn damaged(&mut self, damage: &Damage) {
        let said = serde_json::to_string(damage).expect("numbers and times are text");
        let pair = KeyValue::new(DAMAGED.to_owned(), said);
        self.file.append_key_value_metadata(pair);
    }

    /// Closes the group when it is full or the last one, and puts what is written to `out`.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>, is_end: bool) -> Result<(), ParquetError> {
        let n = self.group.channels.len();
        if n >= N_GROUP || (is_end && n > 0) {
            let group = std::mem::take(&mut self.group);
            let mut writer = self.file.next_row_group()?;
            column::<ByteArrayType>(&mut writer, &group.devices, None)?;
            column::<ByteArrayType>(&mut writer, &group.quantities, None)?;
            column::<Int32Type>(&mut writer, &group.channels, None)?;
            column::<ByteArrayType>(&mut writer, &group.units, None)?;
            column::<Int64Type>(&mut writer, &group.measured, None)?;
            column::<Int64Type>(&mut writer, &group.received, None)?;
            column::<DoubleType>(&mut writer, &group.numbers, Some(&group.is_number))?;
            column::<ByteArrayType>(&mut writer, &group.texts, Some(&group.is_text))?;
            column::<ByteArrayType>(&mut writer, &group.marks, None)?;
            writer.close()?;
            self.file.flush()?;
        }
        if is_end {
            self.file.finish()?;
            self.file.flush()?;
        }
        out.append(&mut self.written.0.lock().expect(POISON));
        Ok(())
    }
}

/// Writes the next column of a group; `present` says which rows have a value, where not all must.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Written>,
    values: &[T::T],
    present: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("the schema has fewer columns than are written".to_owned()))?;
    column.typed::<T>().write_batch(values, present, None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::Quality;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;

    use super::*;
    use crate::api::export::text::tests::row;

    #[test]
    fn rows_come_back_over_the_border_of_a_group() {
        let n = N_GROUP as i64 + 10;
        let value = |i: i64| match i % 7 {
            0 => Value::Text("开".into()),
            _ => Value::Number(i as f64 / 3.0),
        };
        let mut columns = Columns::new().unwrap();
        let mut out = Vec::new();
        for i in 0..n {
            let (key, version) = row(
                "a-1",
                3,
                i * 1000,
                value(i),
                if i == 5 { Quality::JUMP.0 } else { 0 },
            );
            columns.push(&Row { key: &key, version });
            if i % 8192 == 0 {
                columns.flush(&mut out, false).unwrap();
            }
        }
        columns.flush(&mut out, true).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(out)).unwrap();
        assert_eq!(reader.num_row_groups(), 2);
        let mut n_read = 0;
        for (i, row) in (0..).zip(reader.get_row_iter(None).unwrap()) {
            let row = row.unwrap();
            let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
            let at = |ms| Field::TimestampMillis(ms);
            let text = |text: &str| Field::Str(text.to_owned());
            let (number, word) = match value(i) {
                Value::Number(number) => (Field::Double(number), Field::Null),
                Value::Text(word) => (Field::Null, text(&word)),
            };
            let want = [
                text("a-1"),
                text("pm2_5"),
                Field::UShort(3),
                text("ug/m3"),
                at(i * 1000),
                at(i * 1000 + 1500),
                number,
                word,
                text(if i == 5 { "jump" } else { "" }),
            ];
            assert_eq!(fields, want.iter().collect::<Vec<&Field>>(), "{i}");
            n_read += 1;
        }
        assert_eq!(n_read, n);
    }

    #[test]
    fn what_damage_took_stands_in_the_metadata_near_the_end() {
        let at = onemap_model::Timestamp::from_ms;
        let damage = Damage {
            rows: 3,
            from: at(0),
            to: at(5),
        };
        let mut columns = Columns::new().unwrap();
        columns.damaged(&damage);
        let mut out = Vec::new();
        columns.flush(&mut out, true).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(out)).unwrap();
        let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
        assert_eq!(pairs[0].key, DAMAGED);
        assert!(
            pairs[0].value.as_ref().unwrap().starts_with("{\"rows\":3,"),
            "{pairs:?}"
        );
    }

    #[test]
    fn no_rows_are_a_file_too() {
        let mut out = Vec::new();
        Columns::new().unwrap().flush(&mut out, true).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(out)).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }
}
