//! Annotated CSV, what Flux answers in: tables with their own columns and types, an error as a table of its own.
//!
//! Pure, and never a panic: a body that was cut, a number that is none and a column that is missing are errors.

use crate::engine::StoreError;

/// One row of any table.
#[derive(Debug, PartialEq)]
pub(super) struct Row<'a> {
    table: &'a Table,
    cells: Vec<String>,
}

/// The columns of one table.
#[derive(Debug, Default, PartialEq)]
struct Table {
    names: Vec<String>,
    types: Vec<String>,
    defaults: Vec<String>,
}

impl Row<'_> {
    /// A cell, or its column's default; `None` for a null and for a column that is not there. A text that is empty
    /// is a text.
    pub(super) fn cell(&self, name: &str) -> Option<&str> {
        let i = self.table.names.iter().position(|column| column == name)?;
        let text = self.cells.get(i).filter(|text| !text.is_empty());
        let default = || self.table.defaults.get(i).filter(|text| !text.is_empty());
        let is_text = || self.table.types.get(i).is_some_and(|kind| kind == "string");
        match text.or_else(default) {
            Some(text) => Some(text),
            None if is_text() => Some(""),
            None => None,
        }
    }

    /// What a column holds.
    #[cfg(test)]
    fn kind(&self, name: &str) -> Option<&str> {
        let i = self.table.names.iter().position(|column| column == name)?;
        self.table.types.get(i).map(String::as_str)
    }

    /// A cell that is to be there.
    ///
    /// # Errors
    /// When it is null or missing.
    pub(super) fn required(&self, name: &str) -> Result<&str, StoreError> {
        self.cell(name)
            .ok_or_else(|| StoreError::corrupt(format!("a row without `{name}`")))
    }

    /// A number; `None` for a null.
    ///
    /// # Errors
    /// When it is no number.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, StoreError> {
        let Some(text) = self.cell(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(StoreError::corrupt(format!(
                "`{text}` in `{name}` is not a number"
            ))),
        }
    }

    /// A time, ms since 1970.
    ///
    /// # Errors
    /// When it is null, missing or no time.
    pub(super) fn time(&self, name: &str) -> Result<i64, StoreError> {
        let text = self.required(name)?;
        let time: Result<jiff::Timestamp, _> = text.parse();
        match time {
            Ok(time) => Ok(time.as_millisecond()),
            Err(_) => Err(StoreError::corrupt(format!("`{text}` in `{name}` is not a time"))),
        }
    }
}

/// Passes every row to `take`.
///
/// # Errors
/// [`StoreError::Corrupt`] for a body that is no annotated CSV or was cut, [`StoreError::Rejected`] for a table of
/// an error, and those of `take`.
pub(super) fn read(
    body: &[u8],
    take: &mut dyn FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let text = std::str::from_utf8(body).map_err(|_| StoreError::corrupt("it is not UTF-8"))?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(StoreError::corrupt("it ends inside a row"));
    }
    let mut rest = text;
    let mut table = Table::default();
    let mut in_rows = false;
    while !rest.is_empty() {
        let (cells, next) = record(rest)?;
        rest = next;
        if let [empty] = &cells[..]
            && empty.is_empty()
        {
            (table, in_rows) = (Table::default(), false);
            continue;
        }
        match cells[0].as_str() {
            annotation if annotation.starts_with('#') => {
                if in_rows {
                    (table, in_rows) = (Table::default(), false);
                }
                match annotation {
                    "#datatype" => table.types = cells,
                    "#default" => table.defaults = cells,
                    _ => {}
                }
            }
            _ if !in_rows => {
                let is_error = cells.iter().any(|name| name == "error");
                let n = table.types.len();
                if n != 0 && n != cells.len() {
                    return Err(StoreError::corrupt("a table's names do not fit its types"));
                }
                table.names = cells;
                in_rows = true;
                if is_error {
                    return Err(error(&table, rest)?);
                }
            }
            _ if cells.len() != table.names.len() => {
                return Err(StoreError::corrupt("a row does not have its table's columns"));
            }
            _ => take(&Row { table: &table, cells })?,
        }
    }
    Ok(())
}

/// What a table of an error says.
fn error(table: &Table, rest: &str) -> Result<StoreError, StoreError> {
    let mut rest = rest;
    while !rest.is_empty() {
        let (cells, next) = record(rest)?;
        rest = next;
        let row = Row { table, cells };
        if let Some(why) = row.cell("error").filter(|why| !why.is_empty()) {
            return Ok(StoreError::Rejected { why: why.to_owned() });
        }
    }
    Ok(StoreError::corrupt("an error that does not say what it is"))
}

/// The cells of the next record, and what comes after it.
fn record(text: &str) -> Result<(Vec<String>, &str), StoreError> {
    let mut cells = vec![String::new()];
    let mut chars = text.char_indices().peekable();
    let mut quoted = false;
    while let Some((i, c)) = chars.next() {
        let cell = cells
            .last_mut()
            .ok_or_else(|| StoreError::corrupt("a record without cells"))?;
        match c {
            '"' if quoted && chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            '\n' if !quoted => return Ok((cells, &text[i + 1..])),
            '\r' if !quoted && chars.peek().is_some_and(|(_, next)| *next == '\n') => {}
            c => cell.push(c),
        }
    }
    Err(StoreError::corrupt("it ends inside a row"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const TWO: &str = "#datatype,string,long,dateTime:RFC3339,double,string\r\n\
        #group,false,false,false,false,true\r\n#default,_result,,,,\r\n,result,table,_time,_value,device\r\n\
        ,,0,2025-11-23T00:00:00.003Z,1.5,gauge-1\r\n,,0,2025-11-23T00:00:01Z,,gauge-1\r\n\r\n\
        #datatype,string,long,dateTime:RFC3339,string\r\n#group,false,false,false,false\r\n#default,texts,,,\r\n\
        ,result,table,_time,_value\r\n,,1,2025-11-23T00:00:02Z,\"say \"\"no\"\",\r\nagain\"\r\n,,1,2025-11-23T00:00:03Z,\r\n\r\n";

    type Cells = Vec<(String, i64, Option<String>, Option<f64>)>;

    fn cells(body: &[u8]) -> Result<Cells, StoreError> {
        let mut all = Vec::new();
        read(body, &mut |row| {
            let number = match row.kind("_value") {
                Some("double") => row.number("_value")?,
                _ => None,
            };
            let text = row.cell("_value").map(str::to_owned);
            all.push((
                row.required("result")?.to_owned(),
                row.time("_time")?,
                text,
                number,
            ));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn tables_have_their_own_columns_and_nulls_are_no_numbers() {
        let t = 1_763_856_000_000;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            cells(TWO.as_bytes()).unwrap(),
            [
                ("_result".to_owned(), t + 3, some("1.5"), Some(1.5)),
                ("_result".to_owned(), t + 1000, None, None),
                ("texts".to_owned(), t + 2000, some("say \"no\",\r\nagain"), None),
                ("texts".to_owned(), t + 3000, some(""), None),
            ]
        );
        assert!(cells(b"").unwrap().is_empty() && cells(b"\r\n").unwrap().is_empty());
    }

    #[test]
    fn an_error_in_the_middle_and_a_cut_body_are_errors() {
        let failed = format!(
            "{TWO}#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n,the bucket is away,897\r\n"
        );
        assert!(
            matches!(cells(failed.as_bytes()), Err(StoreError::Rejected { why }) if why == "the bucket is away")
        );
        let plain = "error,reference\r\nno such bucket,\r\n";
        assert!(matches!(
            cells(plain.as_bytes()),
            Err(StoreError::Rejected { .. })
        ));
        let mut n_cut = 0;
        for end in 1..TWO.len() {
            n_cut += usize::from(cells(&TWO.as_bytes()[..end]).is_err());
        }
        // Cut at the end of a line it looks whole: HTTP tells of that.
        assert!(n_cut > TWO.len() - 30, "{n_cut} of {}", TWO.len());
        for bad in [
            TWO.replace("1.5", "x"),
            TWO.replace("00:00:00.003Z", "noon"),
            TWO.replace(",gauge-1\r\n,,0", "\r\n,,0"),
            TWO.replace("_time", "_tame"),
        ] {
            assert!(cells(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(body in "[#a-z,\"\r\n0-9._:TZ-]{0,120}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (cells(body.as_bytes()), cells(&bytes));
        }
    }
}
