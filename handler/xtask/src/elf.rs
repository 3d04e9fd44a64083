//! Is this executable one that runs on any x86-64 Linux, whatever C library is there?
//!
//! The platform does not document the image under a custom handler and replaces it now and then, so the shipped
//! executable must not ask for a dynamic loader. Only the ELF header and the program headers are read (ELF-64 object
//! file format, "Program Header"; AMD64 psABI for the machine number).

const EXECUTABLE: u16 = 2;
const SHARED: u16 = 3; // also what a static-pie executable is
const X86_64: u16 = 62;
const INTERPRETER: u32 = 3; // PT_INTERP: the path of the dynamic loader

/// Why it would not run there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Text, a Windows or macOS executable, or cut short.
    #[error("it is not a 64-bit little-endian ELF executable")]
    NotElf64,
    /// Built for another processor.
    #[error("it is for machine {0}, not for x86-64 ({X86_64})")]
    OtherMachine(u16),
    /// Asks for a loader, thus for a C library of at least some version.
    #[error("it is dynamically linked; build it for x86_64-unknown-linux-musl")]
    Dynamic,
}

/// Refuses all but static (or static-pie) x86-64 executables.
pub(crate) fn require_static_x86_64(bytes: &[u8]) -> Result<(), Unfit> {
    let header = Header::read(bytes).ok_or(Unfit::NotElf64)?;
    if header.machine != X86_64 {
        return Err(Unfit::OtherMachine(header.machine));
    }
    for kind in header.segment_kinds(bytes) {
        if kind.ok_or(Unfit::NotElf64)? == INTERPRETER {
            return Err(Unfit::Dynamic);
        }
    }
    Ok(())
}

struct Header {
    machine: u16,
    table: usize,
    entry_size: usize,
    entries: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        // Magic, 64-bit class, little-endian data.
        if !bytes.starts_with(b"\x7fELF\x02\x01") || !matches!(u16_at(bytes, 16)?, EXECUTABLE | SHARED) {
            return None;
        }
        let table = u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?);
        let header = Self {
            machine: u16_at(bytes, 18)?,
            table: usize::try_from(table).ok()?,
            entry_size: usize::from(u16_at(bytes, 54)?),
            entries: usize::from(u16_at(bytes, 56)?),
        };
        // Nothing to load: an object that nobody can start.
        (header.entries > 0).then_some(header)
    }

    fn segment_kinds<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Option<u32>> + 'a {
        (0..self.entries).map(move |index| {
            let at = self.table.checked_add(index.checked_mul(self.entry_size)?)?;
            let kind = bytes.get(at..at.checked_add(4)?)?;
            Some(u32::from_le_bytes(kind.try_into().ok()?))
        })
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The smallest header that says `kind`, `machine` and these segments; for tests of everything that reads one.
#[cfg(test)]
pub(crate) fn made_up(kind: u16, machine: u16, segments: &[u32]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64, 0);
    bytes[16..18].copy_from_slice(&kind.to_le_bytes());
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
    bytes[56..58].copy_from_slice(&u16::try_from(segments.len()).unwrap().to_le_bytes());
    for segment in segments {
        bytes.extend(segment.to_le_bytes());
        bytes.resize(bytes.len() + 52, 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: u32 = 1;
    const DYNAMIC: u32 = 2; // PT_DYNAMIC: static-pie has it too, for its own relocations

    #[test]
    fn static_and_static_pie_executables_are_fit() {
        assert_eq!(require_static_x86_64(&made_up(EXECUTABLE, X86_64, &[LOAD])), Ok(()));
        assert_eq!(require_static_x86_64(&made_up(SHARED, X86_64, &[LOAD, DYNAMIC])), Ok(()));
    }

    #[test]
    fn an_executable_that_asks_for_a_loader_is_unfit() {
        let dynamic = made_up(SHARED, X86_64, &[LOAD, INTERPRETER, DYNAMIC]);
        assert_eq!(require_static_x86_64(&dynamic), Err(Unfit::Dynamic));
    }

    #[test]
    fn this_very_test_program_is_read_as_what_it_is() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let expected = match (cfg!(target_arch = "x86_64"), cfg!(target_env = "gnu")) {
            (true, true) => Err(Unfit::Dynamic),
            (true, false) => Ok(()),
            (false, _) => return,
        };
        assert_eq!(require_static_x86_64(&bytes), expected);
    }

    #[test]
    fn another_processor_is_unfit() {
        assert_eq!(require_static_x86_64(&made_up(EXECUTABLE, 183, &[LOAD])), Err(Unfit::OtherMachine(183)));
    }

    #[test]
    fn what_is_no_executable_or_cut_short_is_unfit() {
        let whole = made_up(EXECUTABLE, X86_64, &[LOAD, LOAD]);
        let object = made_up(1, X86_64, &[LOAD]);
        for bytes in [&b"#!/bin/sh\n"[..], &whole[..40], &whole[..100], &object, &made_up(EXECUTABLE, X86_64, &[])] {
            assert_eq!(require_static_x86_64(bytes), Err(Unfit::NotElf64));
        }
    }
}
