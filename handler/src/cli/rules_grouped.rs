//! What a rule that groups makes of an upload, in `scorekeeper rules test`: for whom it waits, where it is copied to, and over which
//! folder the job of its group goes.

use std::io::{self, Write};

use lifecycle::group::{Group, Grouping, staged_name, staging_folder};
use lifecycle::rule::{GroupBy, GroupSettings};
use lifecycle::{LedgerId, Rule, Scoring, ScoringId};
use time::OffsetDateTime;

/// The group of one upload, as an example of those that a reconcile run makes of several.
pub(super) struct ExampleGroup<'r> {
    settings: &'r GroupSettings,
    ledger: &'r LedgerId,
    member: &'r Scoring,
    /// The group as a scoring of one member; its id and folder are examples, which [`shown`](Self::shown) replaces.
    pub(super) scoring: Scoring,
}

impl<'r> ExampleGroup<'r> {
    /// `None`: the upload's account has no place for copies, as its URL is none of a storage account.
    pub(super) fn of(
        rule: &Rule,
        settings: &'r GroupSettings,
        member: &'r Scoring,
        ledger: &'r LedgerId,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let id = ScoringId::of_group(ledger, &rule.id, [&member.id], now);
        let folder = staging_folder(&member.blob, &settings.staging, ledger, &id).ok()?;
        let grouping = Some(Box::new(Grouping::Group(Group::sealed([member.id.clone()], None))));
        let scoring = Scoring { id, grouping, ..Scoring::accept(ledger, rule, folder, now) };
        Some(Self { settings, ledger, member, scoring })
    }

    /// A text with the names of what the ledger and the other uploads decide in place of this example's.
    pub(super) fn shown(&self, text: &str) -> String {
        let Self { ledger, member, scoring, .. } = self;
        let text = text.replace(scoring.id.as_str(), "{group}").replace(member.id.as_str(), "{scoring.id}");
        text.replace(ledger.as_str(), "{ledger}")
    }

    /// Tells for whom it waits, how long, and where it is copied to.
    pub(super) fn tell(&self, out: &mut dyn Write) -> io::Result<()> {
        let GroupSettings { by, .. } = self.settings;
        let (url, path) = (&self.member.blob.url, &self.member.blob.path);
        let folder = url.rsplit_once('/').map_or("", |(folder, _)| folder);
        let whose = match by {
            GroupBy::Folder | GroupBy::Marker => format!("of the folder {folder}"),
            GroupBy::Time => format!("of account {} that the rule wants", self.member.blob.account),
        };
        if let Some((size, most)) = self.too_large() {
            writeln!(
                out,
                "  group       of its own, without others {whose}: it has {size} bytes, and `group.maxBytes` is {most}"
            )?;
            writeln!(out, "  waits       for the next reconcile run")?;
        } else {
            self.tell_others(&whose, out)?;
        }
        let name = self.shown(&staged_name(&self.member.id, path));
        writeln!(out, "  copied to   {}/{name}", self.shown(&self.scoring.blob.url))
    }

    /// Its bytes and those that a group may have, if that is why it goes without others.
    pub(super) fn too_large(&self) -> Option<(u64, u64)> {
        self.member.blob.size.zip(self.settings.max_bytes).filter(|(size, most)| size >= most)
    }

    fn tell_others(&self, whose: &str, out: &mut dyn Write) -> io::Result<()> {
        let GroupSettings { marker, max_files, max_bytes, max_wait, .. } = self.settings;
        let folder = self.member.blob.url.rsplit_once('/').map_or("", |(folder, _)| folder);
        let bytes = max_bytes.map(|bytes| format!(" and {bytes} bytes")).unwrap_or_default();
        // An event tells the size, a URL does not.
        let larger = match (max_bytes, self.member.blob.size) {
            (Some(_), None) => "; if it has as many itself, it is a group of its own",
            _ => "",
        };
        writeln!(out, "  group       with others {whose}, {max_files} files{bytes} at most{larger}")?;
        let marker = marker.as_ref().map(|marker| format!(", or {folder}/{} lies there", marker.as_str()));
        let marker = marker.unwrap_or_default();
        writeln!(
            out,
            "  waits       until so many wait{marker}, for {max_wait} at most; then for the next reconcile run"
        )
    }
}
