//! Bicep's words. Line ends are words: they part statements, properties and items.

/// One word.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A name or keyword.
    Name(String),
    Number(i64),
    /// A string: texts and the source of the expressions between them.
    Text(Vec<Piece>),
    /// Punctuation, longest first.
    Sign(&'static str),
    LineEnd,
    End,
}

/// A part of a string.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Plain(String),
    /// What stands between `${` and `}`.
    Source(String),
}

const SIGNS: [&str; 36] = [
    "??", "=>", "==", "!=", "<=", ">=", "=~", "!~", "&&", "||", ".?", "[?", "(", ")", "[", "]", "{", "}", ",", ":",
    ".", "?", "=", "!", "<", ">", "+", "-", "*", "/", "%", "@", "|", "#", "^", "&",
];

/// Words with the lines that they stand in, from 1.
pub fn words(source: &str) -> Result<Vec<(Token, usize)>, (usize, String)> {
    let text: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut words) = (0, 1, Vec::new());
    while at < text.len() {
        let rest = &text[at..];
        let begins =
            |sign: &str| rest.iter().zip(sign.chars()).filter(|(a, b)| **a == *b).count() == sign.chars().count();
        match text[at] {
            '\n' => {
                words.push((Token::LineEnd, line));
                line += 1;
                at += 1;
            }
            c if c.is_whitespace() => at += 1,
            '/' if begins("//") => at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            '\'' => {
                let (pieces, used) = string(rest).map_err(|why| (line, why))?;
                words.push((Token::Text(pieces), line));
                at += used;
            }
            c if c.is_ascii_digit() => {
                let digits: String = rest.iter().take_while(|c| c.is_ascii_digit()).collect();
                at += digits.len();
                words.push((
                    Token::Number(digits.parse().map_err(|_| (line, format!("`{digits}` is too large")))?),
                    line,
                ));
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let name: String = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
                at += name.len();
                words.push((Token::Name(name), line));
            }
            other => match SIGNS.iter().find(|sign| begins(sign)) {
                Some(sign) => {
                    words.push((Token::Sign(sign), line));
                    at += sign.len();
                }
                None => return Err((line, format!("`{other}` is no word of Bicep"))),
            },
        }
    }
    words.push((Token::LineEnd, line));
    words.push((Token::End, line));
    Ok(words)
}

/// A string from its opening quote; with its length.
fn string(text: &[char]) -> Result<(Vec<Piece>, usize), String> {
    if text.starts_with(&['\'', '\'', '\'']) {
        return Err("multi-line strings are not used here".to_owned());
    }
    let (mut pieces, mut plain, mut at) = (Vec::new(), String::new(), 1);
    loop {
        match (text.get(at), text.get(at + 1)) {
            (None | Some('\n'), _) => return Err("a string does not end".to_owned()),
            (Some('\''), _) => break,
            (Some('\\'), Some(escaped)) => {
                plain.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    '\\' | '\'' | '$' => *escaped,
                    other => return Err(format!("`\\{other}` is no escape")),
                });
                at += 2;
            }
            (Some('$'), Some('{')) => {
                let begin = at + 2;
                let (mut depth, mut quoted, mut end) = (1, false, begin);
                while depth > 0 {
                    match text.get(end) {
                        None | Some('\n') => return Err("`${` does not end".to_owned()),
                        Some('\'') => quoted = !quoted,
                        Some('{') if !quoted => depth += 1,
                        Some('}') if !quoted => depth -= 1,
                        Some(_) => {}
                    }
                    end += 1;
                }
                if !plain.is_empty() {
                    pieces.push(Piece::Plain(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Source(text[begin..end - 1].iter().collect()));
                at = end;
            }
            (Some(other), _) => {
                plain.push(*other);
                at += 1;
            }
        }
    }
    if !plain.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    Ok((pieces, at + 1))
}
