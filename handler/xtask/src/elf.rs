//! Is this executable one that runs on any x86-64 Linux, whatever C library is there?
//!
//! The platform does not document the image under a custom handler and replaces it now and then, so the shipped
//! executable must not ask for a dynamic loader.

#[cfg(test)]
use object::elf::{FileType, Machine, ProgramType};
use object::{
    Architecture, LittleEndian, Object as _, ObjectKind,
    elf::PT_INTERP,
    read::elf::{ElfFile64, ProgramHeader as _},
};

/// Why it would not run there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Text, a Windows or macOS executable, or cut short.
    #[error("it is not a 64-bit little-endian ELF executable")]
    NotElf64,
    /// It is built for another processor than x86-64.
    #[error("it is for {0:?}, not for x86-64")]
    OtherMachine(Architecture),
    /// Asks for a loader, thus for a C library of at least some version.
    #[error("it is dynamically linked; build it for x86_64-unknown-linux-musl")]
    Dynamic,
    /// A fifth more bytes that nothing reads.
    #[error(
        "it carries a symbol table; set `strip = true` in the profile it is built with, and in that of its own package"
    )]
    Symbols,
}

/// Refuses all but static (or static-pie) x86-64 executables without a symbol table.
pub(crate) fn require_static_x86_64(bytes: &[u8]) -> Result<(), Unfit> {
    let file = ElfFile64::<LittleEndian>::parse(bytes).map_err(|_| Unfit::NotElf64)?;
    // A static-pie executable is a shared object to ELF. Nothing to load: an object that nobody can start.
    let starts = matches!(file.kind(), ObjectKind::Executable | ObjectKind::Dynamic);
    if !starts || file.elf_program_headers().is_empty() {
        return Err(Unfit::NotElf64);
    }
    if file.architecture() != Architecture::X86_64 {
        return Err(Unfit::OtherMachine(file.architecture()));
    }
    let mut segments = file.elf_program_headers().iter();
    if segments.any(|segment| segment.p_type(LittleEndian) == PT_INTERP) {
        return Err(Unfit::Dynamic);
    }
    if file.symbols().next().is_some() { Err(Unfit::Symbols) } else { Ok(()) }
}

/// The smallest header that says `kind`, `machine` and these segments; for tests of everything that reads one.
#[cfg(test)]
pub(crate) fn made_up(kind: FileType, machine: Machine, segments: &[ProgramType]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64, 0);
    bytes[16..18].copy_from_slice(&kind.0.to_le_bytes());
    bytes[18..20].copy_from_slice(&machine.0.to_le_bytes());
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
    bytes[56..58].copy_from_slice(&u16::try_from(segments.len()).unwrap().to_le_bytes());
    for segment in segments {
        bytes.extend(segment.0.to_le_bytes());
        bytes.resize(bytes.len() + 52, 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use object::elf::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, ET_REL, PT_DYNAMIC, PT_LOAD};

    use super::*;

    #[test]
    fn static_and_static_pie_executables_are_fit() {
        let fit = |kind, segments: &[_]| require_static_x86_64(&made_up(kind, EM_X86_64, segments));
        assert_eq!(fit(ET_EXEC, &[PT_LOAD]), Ok(()));
        // Static-pie has a dynamic segment too, for its own relocations.
        assert_eq!(fit(ET_DYN, &[PT_LOAD, PT_DYNAMIC]), Ok(()));
        assert_eq!(fit(ET_DYN, &[PT_LOAD, PT_INTERP, PT_DYNAMIC]), Err(Unfit::Dynamic));
    }

    #[test]
    fn this_very_test_program_is_read_as_what_it_is() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let expected = match (cfg!(target_arch = "x86_64"), cfg!(target_env = "gnu")) {
            (true, true) => Err(Unfit::Dynamic),
            (true, false) => Err(Unfit::Symbols),
            (false, _) => return,
        };
        assert_eq!(require_static_x86_64(&bytes), expected);
    }

    #[test]
    fn another_processor_is_unfit() {
        let found = require_static_x86_64(&made_up(ET_EXEC, EM_AARCH64, &[PT_LOAD]));
        assert_eq!(found, Err(Unfit::OtherMachine(Architecture::Aarch64)));
    }

    #[test]
    fn what_is_no_executable_or_cut_short_is_unfit() {
        let whole = made_up(ET_EXEC, EM_X86_64, &[PT_LOAD, PT_LOAD]);
        let object = made_up(ET_REL, EM_X86_64, &[PT_LOAD]);
        let empty = made_up(ET_EXEC, EM_X86_64, &[]);
        for bytes in [&b"#!/bin/sh\n"[..], &whole[..40], &whole[..100], &object, &empty] {
            assert_eq!(require_static_x86_64(bytes), Err(Unfit::NotElf64));
        }
    }
}
