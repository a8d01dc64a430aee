//! The notation that the files in `shapes/` are written in, and its reading into JSON Schema.
//!
//! A line is one of these; it goes on while a bracket is open, or when the next begins with `|`.
//!
//! ```text
//! # a remark
//! Name = type                    a shape, which others name
//! ?name = type                   what a query parameter of this name is wherever nothing else is said
//! post /path/{of}/operation      what follows indented is of this operation
//!   ?name = type                 a parameter of the address or the path; `?name! = type` must be there
//!   < media/type type            a body that is taken; `<?` one that may be left out
//!   > 200 media/type type        an answer; without a media type one without a body
//! ```
//!
//! A type is `text`, `text(1..64)`, `text(/pattern/)`, `int`, `uint`, `number`, each with `(from..to)`, `bool`, `time`
//! (RFC 3339), `date`, `bytes`, `any`, `null`, `true`, `false`, `"word"`, `Name`, `[type]`, `[type](2..2)`, `{name: type,
//! other?: type}`, `{*: type}` for members of any name, `...` among members where there may be more, and `a | b`. An
//! object has no members but those that stand there.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// An answer: status, and media type with schema.
pub(super) type Given = (u16, Option<(String, Value)>);

/// What a file says of one operation.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Described {
    /// Parameter, whether it must be there, schema.
    pub(super) parameters: Vec<(String, bool, Value)>,
    /// Bodies that are taken: media type and schema.
    pub(super) takes: Vec<(String, Value)>,
    /// The body may be left out.
    pub(super) is_optional: bool,
    pub(super) gives: Vec<Given>,
}

/// Everything that files say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shapes {
    pub(super) schemas: Map<String, Value>,
    /// Query parameters by name.
    pub(super) parameters: BTreeMap<String, Value>,
    /// By method and path.
    pub(super) operations: BTreeMap<(String, String), Described>,
}

/// A line that cannot be read, and why.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("`{line}`: {why}")]
pub(super) struct NotationError {
    line: String,
    why: String,
}

impl Shapes {
    /// Takes what one file says.
    ///
    /// # Errors
    /// The line that cannot be read.
    pub(super) fn read(&mut self, text: &str) -> Result<(), NotationError> {
        let mut current = None;
        for line in whole_lines(text) {
            self.line(&line, &mut current).map_err(|why| NotationError {
                line: line.chars().take(120).collect(),
                why,
            })?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str, current: &mut Option<(String, String)>) -> Result<(), String> {
        if !line.starts_with(' ') {
            if let Some((name, kind)) = line.split_once(" = ") {
                let schema = schema(kind)?;
                let known = match name.strip_prefix('?') {
                    Some(name) => self.parameters.insert(name.to_owned(), schema).is_some(),
                    None => self.schemas.insert(name.to_owned(), schema).is_some(),
                };
                return said_once(known);
            }
            let (method, path) = line.split_once(' ').ok_or("neither a shape nor an operation")?;
            let key = (method.to_owned(), path.to_owned());
            *current = Some(key.clone());
            return said_once(self.operations.insert(key, Described::default()).is_some());
        }
        let operation = current.as_ref().and_then(|key| self.operations.get_mut(key));
        let operation = operation.ok_or("it belongs to no operation")?;
        let line = line.trim();
        if let Some(parameter) = line.strip_prefix('?') {
            let (name, kind) = parameter.split_once(" = ").ok_or("a parameter has a type")?;
            let (name, is_needed) = match name.strip_suffix('!') {
                Some(name) => (name, true),
                None => (name, false),
            };
            let parameter = (name.to_owned(), is_needed, schema(kind)?);
            operation.parameters.push(parameter);
            return Ok(());
        }
        let mut words = line.splitn(3, ' ');
        let sign = words.next().unwrap_or_default();
        if matches!(sign, "<" | "<?") {
            let (media, kind) = words
                .next()
                .zip(words.next())
                .ok_or("a body has media type and type")?;
            operation.takes.push((media.to_owned(), schema(kind)?));
            operation.is_optional = sign == "<?";
            return Ok(());
        }
        if sign != ">" {
            return Err("neither a parameter, a body nor an answer".to_owned());
        }
        let status = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or("an answer has a status")?;
        let content = match words.next() {
            None => None,
            Some(rest) => {
                let (media, kind) = rest.split_once(' ').ok_or("an answer's body has a type")?;
                Some((media.to_owned(), schema(kind)?))
            }
        };
        operation.gives.push((status, content));
        Ok(())
    }
}

fn said_once(is_known: bool) -> Result<(), String> {
    match is_known {
        true => Err("it is said twice".to_owned()),
        false => Ok(()),
    }
}

/// Lines with those that they go on in.
fn whole_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut depth = 0_i32;
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some(last) if depth > 0 || bare.starts_with('|') => {
                last.push(' ');
                last.push_str(bare);
            }
            _ => lines.push(line.to_owned()),
        }
        depth += opened(bare);
    }
    lines
}

/// Brackets that a line leaves open; those in words and patterns are none.
fn opened(line: &str) -> i32 {
    let (mut depth, mut rest) = (0, line);
    while let Some(at) = rest.find(['"', '(', ')', '{', '}', '[', ']']) {
        let (sign, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        let closing = match sign {
            b'"' => after.find('"').map(|end| end + 1),
            b'(' if after.starts_with('/') => after.find("/)").map(|end| end + 2),
            b'(' | b'{' | b'[' => {
                depth += 1;
                None
            }
            _ => {
                depth -= 1;
                None
            }
        };
        rest = &after[closing.unwrap_or(0)..];
    }
    depth
}

/// Reads one type to its end.
fn schema(text: &str) -> Result<Value, String> {
    let mut reader = Reader(text);
    let schema = reader.any_of()?;
    match reader.0.trim_start() {
        "" => Ok(schema),
        rest => Err(format!("`{rest}` is left over")),
    }
}

/// What is still to be read.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn takes(&mut self, sign: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn wants(&mut self, sign: &str) -> Result<(), String> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(format!("`{sign}` is wanted before `{}`", self.0)),
        }
    }

    /// Up to a sign, which is taken, too.
    fn until(&mut self, sign: &str) -> Result<&'a str, String> {
        let (text, rest) = self
            .0
            .split_once(sign)
            .ok_or_else(|| format!("`{sign}` is missing"))?;
        self.0 = rest;
        Ok(text)
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let text = self.0.trim_start();
        let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
        self.0 = &text[end..];
        &text[..end]
    }

    fn any_of(&mut self) -> Result<Value, String> {
        let mut all = vec![self.one()?];
        while self.takes("|") {
            all.push(self.one()?);
        }
        if all.len() == 1 {
            return Ok(all.remove(0));
        }
        // Words stand together as one list of them.
        let (words, mut rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.get("const").is_some());
        if !words.is_empty() {
            let words: Vec<_> = words.into_iter().map(|mut word| word["const"].take()).collect();
            rest.push(match words.iter().all(Value::is_string) {
                true => json!({"type": "string", "enum": words}),
                false => json!({"enum": words}),
            });
        }
        match &mut *rest {
            [one] => Ok(one.take()),
            [one, null] if *null == json!({"type": "null"}) && one["type"].is_string() => {
                one["type"] = json!([one["type"], "null"]);
                Ok(one.take())
            }
            _ => Ok(json!({ "anyOf": rest })),
        }
    }

    fn one(&mut self) -> Result<Value, String> {
        if self.takes("\"") {
            return Ok(json!({"const": self.until("\"")?}));
        }
        if self.takes("{") {
            return self.object();
        }
        if self.takes("[") {
            let mut list = json!({"type": "array", "items": self.any_of()?});
            self.wants("]")?;
            self.range(&mut list, ["minItems", "maxItems"])?;
            return Ok(list);
        }
        let word = self.word(|c| c.is_ascii_alphanumeric());
        if word.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Ok(json!({"$ref": format!("#/components/schemas/{word}")}));
        }
        let (mut schema, bounds) = match word {
            "any" | "bytes" => return Ok(json!({})),
            "null" => return Ok(json!({"type": "null"})),
            "true" | "false" => return Ok(json!({"const": word == "true"})),
            "bool" => return Ok(json!({"type": "boolean"})),
            "time" => return Ok(json!({"type": "string", "format": "date-time"})),
            "date" => return Ok(json!({"type": "string", "format": "date"})),
            "text" => (json!({"type": "string"}), ["minLength", "maxLength"]),
            "int" => (json!({"type": "integer"}), ["minimum", "maximum"]),
            "uint" => (json!({"type": "integer", "minimum": 0}), ["minimum", "maximum"]),
            "number" => (json!({"type": "number"}), ["minimum", "maximum"]),
            _ => return Err(format!("`{word}{}` is no type", self.0)),
        };
        if word == "text" && self.takes("(/") {
            schema["pattern"] = self.until("/)")?.into();
            return Ok(schema);
        }
        self.range(&mut schema, bounds)?;
        Ok(schema)
    }

    /// `(from..to)`, of which either may be missing.
    fn range(&mut self, schema: &mut Value, [least, most]: [&str; 2]) -> Result<(), String> {
        if !self.takes("(") {
            return Ok(());
        }
        let (from, to) = self.until(")")?.split_once("..").ok_or("a range has two dots")?;
        for (name, number) in [(least, from), (most, to)] {
            if !number.is_empty() {
                let number: Value = serde_json::from_str(number).map_err(|error| error.to_string())?;
                schema[name] = number;
            }
        }
        Ok(())
    }

    fn object(&mut self) -> Result<Value, String> {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        let mut more = Value::Bool(false);
        while !self.takes("}") {
            if self.takes("...") {
                more = true.into();
            } else if self.takes("*") {
                self.wants(":")?;
                more = self.any_of()?;
            } else {
                let name = self.word(|c| !c.is_whitespace() && !matches!(c, ':' | '?'));
                let is_needed = !self.takes("?");
                self.wants(":")?;
                if is_needed {
                    required.push(Value::from(name));
                }
                properties.insert(name.to_owned(), self.any_of()?);
            }
            if !self.takes(",") {
                self.wants("}")?;
                break;
            }
        }
        let mut object = json!({"type": "object", "additionalProperties": more});
        if !properties.is_empty() {
            object["properties"] = properties.into();
        }
        if !required.is_empty() {
            object["required"] = required.into();
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn types_become_json_schema() {
        for (text, expected) in [
            ("text", json!({"type": "string"})),
            (
                "text(1..64)",
                json!({"type": "string", "minLength": 1, "maxLength": 64}),
            ),
            (
                "text(/^a(b|c)$/) | null",
                json!({"type": ["string", "null"], "pattern": "^a(b|c)$"}),
            ),
            (
                "uint(..9)",
                json!({"type": "integer", "minimum": 0, "maximum": 9}),
            ),
            (
                "number(-180..180)",
                json!({"type": "number", "minimum": -180, "maximum": 180}),
            ),
            ("\"a\" | \"b\"", json!({"type": "string", "enum": ["a", "b"]})),
            ("\"a\"", json!({"const": "a"})),
            (
                "\"a\" | null",
                json!({"anyOf": [{"type": "null"}, {"type": "string", "enum": ["a"]}]}),
            ),
            (
                "Name | null",
                json!({"anyOf": [{"$ref": "#/components/schemas/Name"}, {"type": "null"}]}),
            ),
            (
                "[number](2..2)",
                json!({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
            ),
            (
                "{a: int, b?: any, ...}",
                json!({"type": "object", "additionalProperties": true, "required": ["a"],
                       "properties": {"a": {"type": "integer"}, "b": {}}}),
            ),
            (
                "{*: bool}",
                json!({"type": "object", "additionalProperties": {"type": "boolean"}}),
            ),
        ] {
            assert_eq!(schema(text).unwrap(), expected, "{text}");
        }
        for bad in [
            "", "txt", "{a int}", "[int", "int int", "text(1)", "\"a", "{a: int",
        ] {
            assert!(schema(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_read_line_by_line_and_a_bad_line_is_named() {
        let mut shapes = Shapes::default();
        let text = "# a remark\nPair = {a: int,\n  b: \"{\"}\n  | null\n?limit = uint\npost /a/{id}\n  ?id! = uint\n  \
                    <? text/csv text\n  > 204\n  > 200 application/json Pair\n";
        shapes.read(text).unwrap();
        assert_eq!(shapes.schemas["Pair"]["properties"]["b"]["const"], "{");
        assert_eq!(shapes.parameters["limit"]["minimum"], 0);
        let operation = &shapes.operations[&("post".to_owned(), "/a/{id}".to_owned())];
        assert!(operation.is_optional && operation.parameters[0].1);
        assert_eq!(operation.gives[0], (204, None));
        assert_eq!(operation.gives[1].0, 200);
        for (bad, why) in [
            ("Pair = int", "twice"),
            ("post /a/{id}", "twice"),
            ("post /c\n  > x", "status"),
            ("post /b\n  ! 5", "neither"),
            ("Other = nonsense", "no type"),
        ] {
            let error = shapes.read(bad).unwrap_err();
            assert!(error.why.contains(why), "{bad}: {error}");
        }
    }
}
