//! What is wrong for longer than a moment is told of when it begins, when it changes and when it is over; not at each of the two
//! looks of a second, which would push everything else off the terminal.

/// Something that may be wrong, as it was told of last.
#[derive(Debug, Default)]
pub(super) struct Lasting(Option<String>);

impl Lasting {
    /// It is wrong, in these words. Whether that is news.
    pub(super) fn begins(&mut self, words: &str) -> bool {
        let is_news = self.0.as_deref() != Some(words);
        if is_news {
            self.0 = Some(words.to_owned());
        }
        is_news
    }

    /// It is right. Whether it was told of as wrong before.
    pub(super) fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_news_once_in_each_form_and_when_it_is_over() {
        let mut away = Lasting::default();
        assert!(!away.is_over());
        assert_eq!(["gone", "gone", "denied", "denied"].map(|words| away.begins(words)), [true, false, true, false]);
        assert!(away.is_over());
        assert!(!away.is_over());
        assert!(away.begins("denied"), "again");
    }
}
