//! The zip that is deployed. Equal inputs give equal bytes, so that a digest tells whether two builds are the same.
//!
//! Names sorted, every time stamp 1980-01-01, modes 0755 and 0644 "made by Unix": extractors ignore the mode bits of
//! an entry that claims to come from elsewhere, and the execute bit is repaired on the consumption plans only.

use std::io::{Cursor, Write as _};

use zip::{CompressionMethod, DateTime, System, ZipWriter, write::SimpleFileOptions};

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
