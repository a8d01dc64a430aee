//! A source's file, as written and as meant.

use onemap_model::ProfileId;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::{Answer, Check, Encoding, Hash, Path, SecretAt, Source};
use crate::profile::Names;

/// Why a source's file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("push source `{source_id}`, line {line}, column {column}: {message}")]
pub struct SourceError {
    /// The source.
    pub source_id: ProfileId,
    /// Line, from 1; 0 when the place is not known.
    pub line: u64,
    /// Column, from 1; 0 when the place is not known.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFile {
    version: Spanned<u32>,
    #[serde(rename = "name")]
    _name: Names,
    check: CheckFile,
    #[serde(default)]
    secret_file: Option<Spanned<String>>,
    #[serde(default)]
    secret_env: Option<Spanned<String>>,
    #[serde(default)]
    echo: Option<String>,
    #[serde(default)]
    list: Option<Spanned<String>>,
    #[serde(default)]
    only: Option<OnlyFile>,
    device: Spanned<String>,
    #[serde(default)]
    device_prefix: String,
    #[serde(default)]
    time: Option<Spanned<String>>,
    payload: PayloadFile,
    #[serde(default)]
    profile: Option<Spanned<String>>,
    #[serde(default)]
    answer: AnswerFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckFile {
    kind: Spanned<String>,
    #[serde(default)]
    header: Option<Spanned<String>>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    encoding: Option<Spanned<String>>,
    #[serde(default)]
    prefix: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnlyFile {
    path: Spanned<String>,
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayloadFile {
    path: Spanned<String>,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFile {
    #[serde(default)]
    status: Option<Spanned<u16>>,
    #[serde(default, rename = "type")]
    content_type: Option<Spanned<String>>,
    #[serde(default)]
    body: Option<String>,
}

type Wrong = (Location, String);

impl Source {
    /// Reads and checks a source's YAML.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and column.
    pub fn parse(id: &ProfileId, text: &str) -> Result<Self, SourceError> {
        let at = |location: Location, message: String| SourceError {
            source_id: id.clone(),
            line: location.line(),
            column: location.column(),
            message,
        };
        let options = serde_saphyr::options! { with_snippet: false };
        let file: SourceFile = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let location = error.location().unwrap_or(Location::UNKNOWN);
            let place = format!(" at line {}, column {}", location.line(), location.column());
            let message = error.without_snippet().to_string();
            at(
                location,
                message.strip_suffix(&place).unwrap_or(&message).to_owned(),
            )
        })?;
        file.meant(id)
            .map_err(|(location, message)| at(location, message))
    }
}

fn path(written: &Spanned<String>) -> Result<Path, Wrong> {
    Path::parse(&written.value).map_err(|message| (written.referenced, message))
}

fn header(written: &Spanned<String>) -> Result<String, Wrong> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    if !written.value.is_empty() && written.value.bytes().all(is_token) {
        return Ok(written.value.to_ascii_lowercase());
    }
    Err((
        written.referenced,
        format!("`{}` is no header's name", written.value),
    ))
}

impl SourceFile {
    fn meant(self, id: &ProfileId) -> Result<Source, Wrong> {
        if self.version.value != 1 {
            let message = format!(
                "version {} is not known, this onemap reads version 1",
                self.version.value
            );
            return Err((self.version.referenced, message));
        }
        let kind = self.check.kind.referenced;
        let secret_line = self.secret_file.as_ref().map(|file| file.referenced.line());
        let profile_line = self.profile.as_ref().map(|profile| profile.referenced.line());
        let secret = match (self.secret_file, self.secret_env) {
            (Some(file), None) => {
                if file.value.is_empty() || file.value.contains(['/', '\\']) || file.value.starts_with('.') {
                    let message = "a secret's file stands beside this one and is named without a folder";
                    return Err((file.referenced, message.to_owned()));
                }
                SecretAt::File(file.value)
            }
            (None, Some(name)) => SecretAt::Environment(name.value),
            (Some(_), Some(name)) => {
                return Err((name.referenced, "either `secret_file` or `secret_env`".to_owned()));
            }
            (None, None) => {
                return Err((kind, "a source needs `secret_file` or `secret_env`".to_owned()));
            }
        };
        let check = self.check.meant()?;
        let profile = match &self.profile {
            None => None,
            Some(written) => {
                let id = ProfileId::new(&written.value).map_err(|e| (written.referenced, e.to_string()))?;
                Some(id)
            }
        };
        let only = match self.only {
            None => None,
            Some(only) => Some((path(&only.path)?, only.values)),
        };
        Ok(Source {
            id: id.clone(),
            check,
            secret,
            echo: self.echo.unwrap_or_else(|| "msg".to_owned()),
            list: self.list.as_ref().map(path).transpose()?,
            only,
            device: path(&self.device)?,
            device_prefix: self.device_prefix,
            time: self.time.as_ref().map(path).transpose()?,
            payload: path(&self.payload.path)?,
            encoding: self.payload.encoding,
            profile,
            lines: (secret_line.unwrap_or(0), profile_line.unwrap_or(0)),
            answer: self.answer.meant()?,
        })
    }
}

impl CheckFile {
    fn meant(self) -> Result<Check, Wrong> {
        let kind = self.kind.referenced;
        let needed = |written: &Option<Spanned<String>>| match written {
            Some(written) => header(written),
            None => Err((kind, format!("`{}` needs `header`", self.kind.value))),
        };
        let hash = match self.kind.value.as_str() {
            "header" => {
                return Ok(Check::Header {
                    header: needed(&self.header)?,
                });
            }
            "basic" => {
                let user = self.user.ok_or((kind, "`basic` needs `user`".to_owned()))?;
                return Ok(Check::Basic { user });
            }
            "onenet" => return Ok(Check::OneNet),
            "hmac_sha256" => Hash::Sha256,
            "hmac_sha1" => Hash::Sha1,
            other => {
                let message = format!("`{other}` is no check: header, basic, hmac_sha256, hmac_sha1, onenet");
                return Err((kind, message));
            }
        };
        let is_hex = match &self.encoding {
            None => true,
            Some(written) => match written.value.as_str() {
                "hex" => true,
                "base64" => false,
                other => {
                    return Err((
                        written.referenced,
                        format!("`{other}`: a hash is written in hex or base64"),
                    ));
                }
            },
        };
        Ok(Check::Hmac {
            hash,
            header: needed(&self.header)?,
            is_hex,
            prefix: self.prefix.unwrap_or_default(),
        })
    }
}

impl AnswerFile {
    fn meant(self) -> Result<Answer, Wrong> {
        let status = match self.status {
            None => 200,
            Some(written) if (200..300).contains(&written.value) => written.value,
            Some(written) => {
                let message = format!("{}: what is kept is answered with 200 to 299", written.value);
                return Err((written.referenced, message));
            }
        };
        let content_type = match self.content_type {
            None => "application/json".to_owned(),
            Some(written) if written.value.bytes().all(|b| (0x20..0x7F).contains(&b)) => written.value,
            Some(written) => return Err((written.referenced, "no content type".to_owned())),
        };
        Ok(Answer {
            status,
            content_type,
            body: self.body.unwrap_or_default(),
        })
    }
}
