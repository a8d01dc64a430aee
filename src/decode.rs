//! `onemap decode`: frames of field protocols from a file or a pipe, one JSON line each.
//!
//! Reads piece by piece and prints what is certain, so that it follows a pipe that does not end.

mod text;

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use onemap_model::{ProfileId, Timestamp};
use onemap_wire::Profile;
use onemap_wire::hj212::Key;
use onemap_wire::spelt::{Given, Line, Protocol, Speller};

use self::text::{Input, hexadecimal};
use crate::house::clock;

/// What clap ends with when the arguments are wrong; so do files that are named in them.
const USAGE: u8 = 2;
/// Bytes that are read at once.
const PIECE: usize = 64 << 10;
/// A key file is no longer than this.
const KEY_FILE: u64 = 1024;

#[derive(Args)]
pub(crate) struct DecodeArgs {
    /// hj212, sl651 or gbt26875.
    protocol: Protocol,
    /// The input; `-` or none is standard input.
    file: Option<PathBuf>,
    /// The input is hexadecimal text; blanks and line ends between bytes do not count.
    #[arg(long)]
    hex: bool,
    /// File with the SM4 key of encrypted HJ 212 (2025): 32 hexadecimal digits, or 16 characters.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The sender's profile (YAML): units, codes of its own, stamps.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// When the frames came (RFC 3339 with offset), now if not said: tells binary from BCD times in GB/T 26875.3.
    #[arg(long, value_name = "TIME", value_parser = time)]
    received_at: Option<Timestamp>,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

/// Ends with 0 when every line is ok, with 1 when one is not or the input is empty, with 2 when a file that the
/// arguments name cannot be used.
pub(crate) fn decode(args: &DecodeArgs) -> Result<ExitCode> {
    let opened = given(args).and_then(|given| Ok((given, open(args.file.as_deref())?)));
    let (given, input) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            eprintln!("onemap: {error:#}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let mut told = Telling {
        input: Input::new(args.protocol),
        speller: Speller::new(args.protocol, given),
        n_lines: 0,
        n_not_ok: 0,
    };
    if args.hex {
        told.hexadecimal(input)?;
    } else {
        told.bytes(input)?;
    }
    if told.n_lines == 0 {
        eprintln!("onemap: the input is empty");
        return Ok(ExitCode::FAILURE);
    }
    Ok(match told.n_not_ok {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn given(args: &DecodeArgs) -> Result<Given> {
    Ok(Given {
        received_at: args.received_at.unwrap_or_else(clock),
        profile: args.profile.as_deref().map(profile).transpose()?,
        keys: args
            .key_file
            .as_deref()
            .map(key)
            .transpose()?
            .into_iter()
            .collect(),
    })
}

fn profile(path: &Path) -> Result<Profile> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let id = ProfileId::new("given").context("a name of an own profile")?;
    Profile::parse(&id, &text)
        .map_err(|e| anyhow::anyhow!("{}:{}:{}: {}", path.display(), e.line, e.column, e.message))
}

/// The key; no message holds anything of the file.
fn key(path: &Path) -> Result<Key> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("the key file {shown} cannot be opened"))?;
    let mut text = String::new();
    file.take(KEY_FILE)
        .read_to_string(&mut text)
        .with_context(|| format!("the key file {shown} cannot be read"))?;
    Key::parse(text.trim()).with_context(|| format!("the key file {shown} holds no key"))
}

fn open(file: Option<&Path>) -> Result<Box<dyn BufRead>> {
    let Some(path) = file.filter(|path| *path != Path::new("-")) else {
        return Ok(Box::new(BufReader::with_capacity(PIECE, std::io::stdin())));
    };
    let shown = path.display();
    let opened = File::open(path).with_context(|| format!("{shown} cannot be opened"))?;
    if opened.metadata().is_ok_and(|of| of.is_dir()) {
        anyhow::bail!("{shown} is a folder");
    }
    Ok(Box::new(BufReader::with_capacity(PIECE, opened)))
}

struct Telling {
    input: Input,
    speller: Speller,
    n_lines: u64,
    n_not_ok: u64,
}

impl Telling {
    fn bytes(&mut self, mut input: Box<dyn BufRead>) -> Result<()> {
        loop {
            let piece = input.fill_buf().context("the input cannot be read")?;
            let n = piece.len();
            if n == 0 {
                return self.end();
            }
            let stream = self.input.text(piece);
            input.consume(n);
            self.tell(&stream)?;
        }
    }

    /// A line that is no hexadecimal text is a fault by itself; the lines around it are read.
    fn hexadecimal(&mut self, mut input: Box<dyn BufRead>) -> Result<()> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let n = input
                .read_until(b'\n', &mut line)
                .context("the input cannot be read")?;
            if n == 0 {
                break;
            }
            match hexadecimal(&line) {
                Ok(bytes) => {
                    let stream = self.input.line(&bytes);
                    self.tell(&stream)?;
                }
                Err(column) => {
                    let what = format!("line {number}, column {column} of the text is no hexadecimal byte");
                    let at = self.input.n_read();
                    self.print(&Line::not_hex(at, what))?;
                }
            }
        }
        self.end()
    }

    fn tell(&mut self, stream: &[u8]) -> Result<()> {
        for line in self.speller.push(stream) {
            self.placed(line)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let rest = self.input.end();
        self.tell(&rest)?;
        for line in self.speller.end() {
            self.placed(line)?;
        }
        Ok(())
    }

    /// A line with its places in the input.
    fn placed(&mut self, mut line: Line) -> Result<()> {
        let start = line.from.unwrap_or(line.at);
        let end = self.input.place(start + line.bytes as u64);
        line.at = self.input.place(line.at);
        line.from = line.from.map(|from| self.input.place(from));
        line.bytes = end.saturating_sub(line.from.unwrap_or(line.at)) as usize;
        self.print(&line)
    }

    fn print(&mut self, line: &Line) -> Result<()> {
        self.n_lines += 1;
        self.n_not_ok += u64::from(!line.ok);
        let text = serde_json::to_string(line).context("a line cannot be written as JSON")?;
        crate::say!("{text}");
        Ok(())
    }
}
