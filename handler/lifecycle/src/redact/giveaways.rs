//! Whether a text may hold a secret at all: one pass over its bytes.

/// Base64 of this many characters, padding aside, is taken for a key: 43 are 256 bits.
pub(super) const MIN_KEY: usize = 40;

/// Beginnings or ends of names and values by which secrets are known, in lower case.
const GIVEAWAYS: &[&[u8]] =
    &[b"key", b"sig", b"sas", b"pwd", b"eyj", b"oken", b"cret", b"pass", b"auth", b"arer", b"asic", b"code", b"iden"];

/// What stands for each byte in an [`Ending`]: a number for a letter, the same in both cases, 0 for what is in no giveaway, and
/// [`Ending::SIGN`] for signs that may give a secret away by themselves.
static CODES: [u8; 256] = {
    let (mut codes, mut letter) = ([0; 256], 0);
    while letter < 26 {
        codes[(b'a' + letter) as usize] = letter + 1;
        codes[(b'A' + letter) as usize] = letter + 1;
        letter += 1;
    }
    let (signs, mut at) = (b"@?=~\\%", 0);
    while at < signs.len() {
        codes[signs[at] as usize] = Ending::SIGN;
        at += 1;
    }
    codes
};

/// The codes of the last bytes that have been read, five bits each, the newest last.
#[derive(Clone, Copy)]
struct Ending(usize);

impl Ending {
    /// As many bytes as the shortest giveaway has.
    const BYTES: u32 = 3;
    /// How many endings there are.
    const COUNT: usize = 1 << (5 * Self::BYTES);
    /// The code of a sign.
    const SIGN: u8 = 31;

    const fn then(self, code: u8) -> Self {
        Self((self.0 << 5 | code as usize) % Self::COUNT)
    }

    /// A [giveaway](GIVEAWAYS) may end here, or this is a sign.
    fn is_suspicious(self) -> bool {
        ENDINGS[self.0 / 32] >> (self.0 % 32) & 1 == 1
    }
}

/// Those that are suspicious, as a set of bits. By two letters a tenth of the bytes of any text would be looked at closer.
static ENDINGS: [u32; Ending::COUNT / 32] = {
    // The last code of all in a word of the set is the sign's.
    let (mut endings, mut at) = ([1 << Ending::SIGN; Ending::COUNT / 32], 0);
    while at < GIVEAWAYS.len() {
        let (word, mut letter, mut ending) = (GIVEAWAYS[at], 0, Ending(0));
        while letter < word.len() {
            ending = ending.then(CODES[word[letter] as usize]);
            letter += 1;
        }
        endings[ending.0 / 32] |= 1 << (ending.0 % 32);
        at += 1;
    }
    endings
};

/// Whether a closer look is worth it. Every log line and every event comes here, and nearly all are done with it: one pass, no
/// allocation, and a few steps for a byte that gives nothing away.
pub(super) fn may_hold_secret(text: &[u8]) -> bool {
    let mut ending = Ending(0);
    text.iter().enumerate().any(|(at, byte)| {
        ending = ending.then(CODES[usize::from(*byte)]);
        ending.is_suspicious() && gives_away(text, at)
    })
}

/// Whether what ends at this byte gives a secret away.
fn gives_away(text: &[u8], at: usize) -> bool {
    match text[at] {
        b'@' | b'?' => true,
        b'=' => at >= MIN_KEY && text[at - MIN_KEY..at].iter().copied().all(is_base64),
        b'~' => text[..at].ends_with(b"Q"),
        b'\\' => text.get(at + 1) == Some(&b'u'),
        // Signs that secrets are made of; `%20` and `%2F`, which paths are full of, are none.
        b'%' => matches!(text[at + 1..], [b'3'..=b'7', ..] | [b'2', b'5', ..]),
        _ => GIVEAWAYS.iter().any(|word| {
            let from = (at + 1).checked_sub(word.len());
            from.is_some_and(|from| text[from..=at].eq_ignore_ascii_case(word))
        }),
    }
}

pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_gives_a_secret_away_has_its_text_looked_at_closer() {
        for word in GIVEAWAYS {
            let word = std::str::from_utf8(word).unwrap();
            for text in [word.to_owned(), word.to_ascii_uppercase(), format!("7-{word}"), format!("q{word}s/x")] {
                assert!(may_hold_secret(text.as_bytes()), "{text}");
            }
        }
        assert!(!may_hold_secret(b"claims/eu/2026/07/000000000001.csv was there, and its etag"));
    }
}
