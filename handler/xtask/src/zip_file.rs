//! The zip that is deployed. Equal inputs give equal bytes, so that a digest tells whether two builds are the same.
//!
//! Names sorted, every time stamp 1980-01-01, modes 0755 and 0644 "made by Unix": extractors ignore the mode bits of
//! an entry that claims to come from elsewhere, and the execute bit is repaired on the consumption plans only.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _, Write as _},
};

use zip::{CompressionMethod, DateTime, System, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{
    app_folder::AppFolder,
    failure::{Failure, Result},
};

/// The bytes of the zip with `app` at its root.
pub(crate) fn packed(app: &AppFolder) -> Result<Vec<u8>> {
    let failed = |cause: &dyn std::fmt::Display| Failure::new(format!("cannot write the zip: {cause}"));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, file) in &app.0 {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(9))
            .last_modified_time(DateTime::DEFAULT)
            .system(System::Unix)
            .unix_permissions(file.mode());
        zip.start_file(name.as_str(), options).map_err(|cause| failed(&cause))?;
        zip.write_all(&file.bytes).map_err(|cause| failed(&cause))?;
    }
    Ok(zip.finish().map_err(|cause| failed(&cause))?.into_inner())
}

/// No file of ours is larger (bytes); bounds what an odd zip makes us read.
const LIMIT: u64 = 1 << 28;

/// The files of a zip by name.
pub(crate) fn unpacked(zip: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let failed = |cause: &dyn std::fmt::Display| Failure::new(format!("cannot read the zip: {cause}"));
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|cause| failed(&cause))?;
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|cause| failed(&cause))?;
        let (name, mut bytes) = (file.name().to_owned(), Vec::new());
        file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|cause| failed(&cause))?;
        if bytes.len() as u64 > LIMIT {
            return Err(Failure::new(format!("`{name}` in the zip is larger than {LIMIT} bytes")));
        }
        files.insert(name, bytes);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app_folder::File;

    #[test]
    fn entries_are_sorted_and_have_a_fixed_time_and_mode() {
        let file = |executable| File { bytes: b"content".to_vec(), executable };
        let names = [("scorekeeper", true), ("Tick/function.json", false), ("host.json", false)];
        let app = AppFolder(names.map(|(name, executable)| (name.to_owned(), file(executable))).into());
        let bytes = packed(&app).unwrap();
        let mut zip = ZipArchive::new(Cursor::new(&bytes)).unwrap();
        let entries: Vec<_> = (0..zip.len())
            .map(|index| {
                let entry = zip.by_index(index).unwrap();
                assert_eq!(entry.last_modified(), Some(DateTime::DEFAULT), "{}", entry.name());
                assert_eq!(entry.extra_data().unwrap_or_default(), b"", "{} has no further times or ids", entry.name());
                (entry.name().to_owned(), entry.unix_mode().unwrap())
            })
            .collect();
        let expected = [("Tick/function.json", 0o100_644), ("host.json", 0o100_644), ("scorekeeper", 0o100_755)];
        assert_eq!(entries, expected.map(|(name, mode)| (name.to_owned(), mode)));
        assert_eq!(DateTime::DEFAULT.to_string(), "1980-01-01 00:00:00");
    }
}
