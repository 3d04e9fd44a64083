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
    failure::{Failure, Result, cannot},
};

/// What is told to be read or written: nothing here knows the file.
const ZIP: &str = "the zip";

/// The bytes of the zip with `app` at its root.
pub(crate) fn packed(app: &AppFolder) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, file) in &app.0 {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(9))
            .last_modified_time(DateTime::DEFAULT)
            .system(System::Unix)
            .unix_permissions(file.mode());
        zip.start_file(name.as_str(), options).map_err(cannot("write", ZIP.as_ref()))?;
        zip.write_all(&file.bytes).map_err(cannot("write", ZIP.as_ref()))?;
    }
    Ok(zip.finish().map_err(cannot("write", ZIP.as_ref()))?.into_inner())
}

/// No file of ours is larger (bytes); bounds what an odd zip makes us read.
const LIMIT: u64 = 1 << 28;

/// The files of a zip by name.
pub(crate) fn unpacked(zip: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(cannot("read", ZIP.as_ref()))?;
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(cannot("read", ZIP.as_ref()))?;
        let name = file.name().map_err(cannot("read", ZIP.as_ref()))?.into_owned();
        let mut bytes = Vec::new();
        file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(cannot("read", ZIP.as_ref()))?;
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
                let name = entry.name().unwrap().into_owned();
                assert_eq!(entry.last_modified(), Some(DateTime::DEFAULT), "{name}");
                assert_eq!(entry.extra_data().unwrap_or_default(), b"", "{name} has no further times or ids");
                (name, entry.unix_mode().unwrap())
            })
            .collect();
        let expected = [("Tick/function.json", 0o100_644), ("host.json", 0o100_644), ("scorekeeper", 0o100_755)];
        assert_eq!(entries, expected.map(|(name, mode)| (name.to_owned(), mode)));
        assert_eq!(DateTime::DEFAULT.to_string(), "1980-01-01 00:00:00");
    }
}
