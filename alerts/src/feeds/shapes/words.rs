//! Words that people read.

use onemap_model::Edge;

/// The edge's Chinese word.
pub(super) fn edge_zh(edge: Edge) -> &'static str {
    match edge {
        Edge::Raised => "发生",
        Edge::Cleared => "恢复正常",
        Edge::Lost => "状态未知",
        Edge::Found => "仍异常",
        Edge::Worsened => "加重",
        Edge::Eased => "减轻",
        Edge::Acknowledged => "已确认",
        Edge::AcknowledgementExpired => "确认到期",
        Edge::Closed => "人工关闭",
        Edge::Withdrawn => "规则撤销",
        Edge::Shelved => "搁置",
        Edge::Unshelved => "取消搁置",
        Edge::ShelfExpired => "搁置到期",
        Edge::Assigned => "已指派",
        Edge::Paged => "通知值班",
        Edge::DrillOver => "演练结束，转为正式",
        Edge::Past => "历史事件",
    }
}

/// A text from outside in a message of a chat: on one line, at most `most` characters, and with nothing in it that a chat
/// reads as a mention, a link or a layout.
pub(super) fn plain(text: &str, most: usize) -> String {
    let wide = |c: char| match c {
        '<' => '＜',
        '>' => '＞',
        '[' => '［',
        ']' => '］',
        '@' => '＠',
        '*' => '＊',
        '`' => '｀',
        '#' => '＃',
        '|' => '｜',
        '\\' => '＼',
        c if c.is_control() || is_hidden(c) => ' ',
        c => c,
    };
    let mut plain: String = text.chars().take(most).map(wide).collect();
    if text.chars().nth(most).is_some() {
        plain.push('…');
    }
    plain
}

/// Characters that turn text around or cannot be seen.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// As much of a text as has at most so many bytes; lines stay whole where that is possible.
pub(super) fn within(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most - '…'.len_utf8())
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let end = text[..end].rfind('\n').filter(|line| *line > 0).unwrap_or(end);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_calls_nobody_and_lays_out_nothing() {
        assert_eq!(
            plain("<@all> [x](http://y)\n# a\u{202e}b", 50),
            "＜＠all＞ ［x］(http://y) ＃ a b"
        );
        assert_eq!(plain("水位水位", 2), "水位…");
    }

    #[test]
    fn a_long_text_ends_at_a_line_or_a_character() {
        assert_eq!(within("水位\n超过警戒".to_owned(), 12), "水位…");
        assert_eq!(within("水位超过警戒".to_owned(), 10), "水位…");
        assert_eq!(within("水位".to_owned(), 6), "水位");
    }
}
