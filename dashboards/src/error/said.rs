//! How much of an input an error says back: a field of some megabytes is not sent to and fro, nor into a log.

use std::borrow::Cow;

/// Most characters of one input.
const MAX_INPUT: usize = 64;
/// Most characters of a whole text: what has inputs in it that no mark ends.
const MAX_TEXT: usize = 640;

/// A text of an error with at most [`MAX_INPUT`] characters of what stands between quotation marks or backticks, or behind
/// an equals sign.
///
/// Serde ends what it was given with `, expected`, where it says so; other texts end an input at the next mark.
pub(crate) fn clipped(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_INPUT {
        return Cow::Borrowed(text);
    }
    let given = text.rsplit_once(", expected").and_then(|(head, _)| {
        let (from, mark) = head.char_indices().find(|(_, c)| is_mark(*c))?;
        let to = head.rfind(mark)?;
        (from < to).then_some((from + 1, to))
    });
    let mut out = String::with_capacity(text.len().min(4 * MAX_TEXT));
    let rest = match given {
        Some((from, to)) => {
            out.push_str(&text[..from]);
            push_input(&mut out, &text[from..to]);
            &text[to..]
        }
        None => text,
    };
    push_rest(&mut out, rest);
    let mut out = with_short_words(&out);
    let n = out.chars().count();
    if n > MAX_TEXT {
        let head: String = out.chars().take(MAX_TEXT / 2).collect();
        let tail: String = out.chars().skip(n - MAX_TEXT / 4).collect();
        out = format!("{head} … {tail}");
    }
    match out == text {
        true => Cow::Borrowed(text),
        false => Cow::Owned(out),
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, '`' | '"')
}

/// A text whose inputs each end at the next mark of their kind, those behind `=` at the next space.
fn push_rest(out: &mut String, mut text: &str) {
    while let Some(at) = text.find(|c| is_mark(c) || c == '=') {
        let begin = &text[at..at + 1];
        let behind = &text[at + 1..];
        let end = match begin {
            "=" => {
                let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
                behind[..end].trim_end_matches([':', ',', ';']).len()
            }
            mark => match behind.find(mark) {
                Some(end) => end,
                None => break,
            },
        };
        out.push_str(&text[..=at]);
        push_input(out, &behind[..end]);
        let mark_too = usize::from(begin != "=");
        out.push_str(&behind[end..end + mark_too]);
        text = &behind[end + mark_too..];
    }
    out.push_str(text);
}

/// A text whose words are no longer than an input with its marks: readers of queries name a field without any.
fn with_short_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_inclusive(ends_word) {
        let word = piece.trim_end_matches(ends_word);
        match word.chars().count() > MAX_INPUT + 8 {
            true => {
                push_input(&mut out, word);
                out.push_str(&piece[word.len()..]);
            }
            false => out.push_str(piece),
        }
    }
    out
}

/// Chinese has no spaces: there a mark ends what stands for a word.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '，' | '、' | '。' | '；' | '：')
}

fn push_input(out: &mut String, input: &str) {
    match input.char_indices().nth(MAX_INPUT) {
        None => out.push_str(input),
        Some((end, _)) => {
            out.push_str(&input[..end]);
            out.push('…');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_back_64_characters_of_an_input() {
        let long = "长".repeat(5000);
        let short = "长".repeat(64);
        for (text, want) in [
            ("nothing is here".to_owned(), "nothing is here".to_owned()),
            (
                format!("no device is called `{long}`"),
                format!("no device is called `{short}…`"),
            ),
            (
                format!("limit={long}: between 1 and 5"),
                format!("limit={short}…: between 1 and 5"),
            ),
            (
                format!("unknown field `{long}`, expected one of `a`, `b` at line 1 column 9"),
                format!("unknown field `{short}…`, expected one of `a`, `b` at line 1 column 9"),
            ),
            (
                format!("invalid type: string \"{long}\", expected u16 at line 3 column 1"),
                format!("invalid type: string \"{short}…\", expected u16 at line 3 column 1"),
            ),
            (
                format!("{long}: unknown field `{long}`, expected `b`"),
                format!("{short}… unknown field `{short}…`, expected `b`"),
            ),
            (
                format!("`{short}` and `b` are {}", "known ".repeat(10)),
                format!("`{short}` and `b` are {}", "known ".repeat(10)),
            ),
            (
                format!("没有字段 `{long}`，此处可写 {}`z`", "`name`、".repeat(30)),
                format!("没有字段 `{short}…`，此处可写 {}`z`", "`name`、".repeat(30)),
            ),
        ] {
            assert_eq!(clipped(&text), want);
        }
        // Marks within what was given change nothing where its end is known, and elsewhere a text has an end.
        let sly = "`a` = \" `".repeat(1000);
        let text = format!("unknown field `{sly}`, expected `b`");
        let said = clipped(&text);
        assert!(
            said.ends_with("…`, expected `b`") && said.chars().count() < 110,
            "{said}"
        );
        let text = format!("no device is called `{sly}`");
        assert!(clipped(&text).chars().count() <= MAX_TEXT);
    }

    #[test]
    fn any_text_is_cut_between_its_characters() {
        for text in [
            "=",
            "`",
            "``",
            "=`",
            "é=é`é",
            &"é`".repeat(400),
            &"é=".repeat(400),
            &", expected".repeat(50),
        ] {
            assert!(clipped(text).chars().count() <= MAX_TEXT, "{text}");
        }
    }
}
