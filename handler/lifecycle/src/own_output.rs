//! Whether a blob is an output of ours, by the scoring id in its path.
//!
//! Every output path that a scoring hands out holds the scoring's id, whatever the rules say today. So a path that holds an id
//! is asked for in the ledger, and what the ledger knows of that scoring decides.

use percent_encoding::percent_decode_str;
use time::{Duration, OffsetDateTime};

use crate::datastore::DatastorePath;
use crate::id::ScoringId;
use crate::scoring::Scoring;

/// How the reason ends for which an output is skipped: nothing that is done makes an upload of it.
pub const NEVER_TRIGGER: &str = "outputs never trigger";

/// Digits of a scoring id.
const DIGITS: usize = 32;

/// The shortest time for which a ledger remembers a scoring after its end: Event Grid's day of redelivery and a week of dead
/// letters.
pub const MIN_RETENTION: Duration = Duration::days(8);

/// Whether the ledger may have forgotten the scoring whose output an event of this time tells of. One without a time may be of any.
pub fn may_be_forgotten(event_time: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    event_time.is_none_or(|at| now - at >= MIN_RETENTION)
}

/// The ids that a path, or a URI, may hold, as it is and percent-decoded: whether the service encodes what it shows is not
/// documented. A longer run of hex digits may begin or end with one, as templates put digits beside it on one side
/// ([`Template::sets_off_scoring_id`](crate::rule::template::Template::sets_off_scoring_id)); to try each place in it would cost a
/// read for each digit of every file that is named by a checksum.
///
/// All runs count: the path of the upload, which a template may put before the id, may hold checksums of its own. A blob's name of
/// 1,024 characters has room for thirty.
pub fn ids_in(path: &str) -> Vec<ScoringId> {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut ids = Vec::new();
    for text in [Some(path), Some(&*decoded).filter(|decoded| *decoded != path)].into_iter().flatten() {
        let runs = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|run| run.len() >= DIGITS);
        let ends = runs.flat_map(|run| [run.get(..DIGITS), run.get(run.len() - DIGITS..)]);
        // Templates put the id behind the path of the upload.
        let found: Vec<ScoringId> = ends.filter_map(|digits| ScoringId::read(digits?)).collect();
        for id in found.into_iter().rev() {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    ids
}

/// Whether a blob at this path is an output of the scoring, which the path names.
///
/// Below a folder that holds the id everything is: tools write markers, parts and temporary files beside what was asked
/// for. Where the id is in the file's own name, users chose the folder, and their uploads may lie beside: only the paths of
/// the scoring's attempts are outputs then.
pub fn is_output_of(scoring: &Scoring, path: &str) -> bool {
    let id = scoring.id.as_str();
    if path.rsplit_once('/').is_some_and(|(folders, _)| folders.contains(id)) {
        return true;
    }
    scoring.handed_out().filter_map(|(_, uri)| DatastorePath::read(uri)).any(|output| {
        let output = output.path.trim_matches('/');
        // Whether the service decodes a path is not documented.
        let decoded = percent_decode_str(output).decode_utf8_lossy();
        is_of_some_attempt(output, path, id) || is_of_some_attempt(&decoded, path, id)
    })
}

/// Whether two paths with this id differ in numbers only: those of attempts, of which the last ones' paths are on record.
fn is_of_some_attempt(output: &str, path: &str, id: &str) -> bool {
    let shape = |path: &str| {
        let (before, behind) = path.split_once(id)?;
        Some((without_numbers(before), without_numbers(behind)))
    };
    shape(output).is_some_and(|output| Some(output) == shape(path))
}

fn without_numbers(text: &str) -> String {
    let mut shape = String::with_capacity(text.len());
    for character in text.chars() {
        if !character.is_ascii_digit() {
            shape.push(character);
        } else if !shape.ends_with('0') {
            shape.push('0');
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::blob::BlobVersion;
    use crate::id::LedgerId;
    use crate::rule::Rules;

    /// Rules with an output of this template, if reading takes it.
    fn rules(template: &str) -> Option<Rules> {
        let rules = serde_json::json!({"rules": [{"id": "r", "match": {"container": "con"}, "endpoint": {"uri": "https://e.example/jobs"},
            "outputs": {"score": {"type": "UriFile", "uri": template}}}]});
        Rules::read(&rules.to_string()).ok()
    }

    /// A scoring in its second attempt, with an output of this template.
    fn scoring(template: &str) -> Scoring {
        scoring_of("https://a.blob.core.windows.net/con/in.csv", &rules(template).expect("good rules"))
    }

    fn scoring_of(url: &str, rules: &Rules) -> Scoring {
        let rule = rules.iter().next().expect("one");
        let blob = BlobVersion::read(url, "1").expect("a blob");
        let mut scoring = Scoring::accept(&LedgerId::of_random([1; 16]), rule, blob, OffsetDateTime::UNIX_EPOCH);
        scoring.attempt = 2;
        scoring.submission = Some(rule.submission(&scoring, 2));
        scoring
    }

    #[test]
    fn below_a_folder_with_its_id_all_is_ours_and_beside_a_file_with_it_nothing_else() {
        let below = scoring("azureml://datastores/d/paths/p/{scoring.id}/{attempt}/p.csv");
        let id = below.id.as_str();
        for path in ["1/p.csv", "2/p.csv", "2/p.csv.meta", "charts/x/y.png", "_SUCCESS"] {
            assert!(is_output_of(&below, &format!("p/{id}/{path}")), "{path}");
        }
        let beside = scoring("azureml://datastores/d/paths/out/x-{scoring.id}-{attempt}.csv");
        let id = beside.id.as_str();
        let is = |path: &str| is_output_of(&beside, &path.replace("ID", id));
        assert!(is("out/x-ID-1.csv") && is("out/x-ID-2.csv"));
        for path in ["out/x-ID-2.csv.bak", "out/y-ID-2.csv", "x-ID-2.csv", "out/x-ID.csv", "out/in.csv"] {
            assert!(!is(path), "{path}");
        }
    }

    #[test]
    fn a_path_is_asked_for_every_id_that_it_may_hold_ours_first() {
        let id = "0123456789abcdef0123456789abcdef";
        let ids = |path: &str| ids_in(path).iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(&format!("p/{id}/1/a.csv")), [id]);
        assert_eq!(ids(&format!("{id}12.csv"))[1], id);
        assert_eq!(ids(&format!("0x1f{id}.csv"))[0], id);
        assert_eq!(ids("eu/2026/report-abc.csv"), [""; 0]);
        assert_eq!(ids(&id.to_uppercase().replace('0', "A")), [""; 0]);
        assert_eq!(ids(&format!("{}/", "f".repeat(64)).repeat(20)).len(), 1);
        let many: Vec<String> = (0..20).map(|n| format!("{n:032x}")).collect();
        assert_eq!(ids(&format!("{}/{id}/1/p.csv", many.join("/")))[0], id, "however many stand before it");
    }

    /// What may stand beside an id in a template.
    fn beside() -> impl Strategy<Value = String> {
        let pieces = [
            "-",
            "/",
            ".",
            "x",
            "a",
            "0",
            "F",
            "%2F",
            "%20",
            "é",
            " ",
            "{blob.stem}",
            "{blob.extension}",
            "{blob.folder}",
            "{blob.folder}/",
            "{blob.etag8}",
            "{event.time:yyyyMMdd}",
            "{event.time}",
            "{attempt}",
            "{rule.id}",
            "{scoring.id}",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, max_global_rejects: 100_000, ..ProptestConfig::default() })]

        /// Also where the service, or Event Grid, encodes or decodes what it was given.
        #[test]
        fn the_id_is_found_in_each_output_of_each_template_that_reading_takes(
            before in beside(),
            behind in beside(),
            attempt in prop::bool::ANY,
            name in "([0-9a-f]{1,40}/)?[0-9a-f]{1,40}(\\.[0-9a-f]{0,3})?",
        ) {
            let attempt = if attempt { "{attempt}" } else { "/{attempt}" };
            let template = format!("azureml://datastores/d/paths/{before}{{scoring.id}}{behind}{attempt}");
            let read = rules(&template);
            prop_assume!(read.is_some());
            let url = format!("https://a.blob.core.windows.net/con/{name}");
            let scoring = scoring_of(&url, &read.expect("assumed"));
            let uri = scoring.output_uri().expect("one");
            let path = DatastorePath::read(uri).expect("a path").path;
            let decoded = percent_decode_str(&path).decode_utf8_lossy().into_owned();
            for path in [uri, &path, &decoded, &crate::blob::encoded(&path).to_string()] {
                prop_assert!(ids_in(path).contains(&scoring.id), "{template}: {path}");
            }
        }
    }

    #[test]
    fn an_id_is_found_behind_a_checksum() {
        let id = "8eab74ca1334548c648de2f3ccc5c3aa";
        let checksum = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
        let uri = format!("azureml://datastores/d/paths/{checksum}/{id}/1/predictions.csv");
        assert_eq!(ids_in(&uri).first().map(ScoringId::as_str), Some(id));
    }
}
