//! What only the start needed is given back: an idle service should be small beside what it serves.

/// Returns free heap to the system, and unmaps the program's code: the start runs through most of it once, and what is
/// called again comes back from the page cache, a few microseconds a piece.
pub(super) fn forget_the_start() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes no pointers; the allocator locks itself.
        unsafe {
            libc::malloc_trim(0);
        }
        let (Ok(maps), Ok(program)) = (
            std::fs::read_to_string("/proc/self/maps"),
            std::fs::read_link("/proc/self/exe"),
        ) else {
            return; // no /proc: then nothing is given back
        };
        for (start, end) in code_of(&maps, &program.to_string_lossy()) {
            // SAFETY: read-only code, mapped from a file and never written to: a page that is touched again is read
            // from that file again, with the same content.
            let gone = unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
            if gone != 0 {
                tracing::debug!("the program's pages stay: {}", std::io::Error::last_os_error());
            }
        }
    }
}

/// The address ranges of `/proc/self/maps` that hold the program's code and nothing that was ever written.
fn code_of(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let range = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (addresses, rights) = (words.next()?, words.next()?);
        let path = words.nth(3)?;
        let (start, end) = addresses.split_once('-')?;
        let parse = |hex| usize::from_str_radix(hex, 16).ok();
        (rights == "r-xp" && path == program).then_some((parse(start)?, parse(end)?))
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_itself_is_given_back() {
        let maps = "1000-2000 r--p 00000000 fe:00 7 /bin/catchment\n2000-a000 r-xp 00001000 fe:00 7 /bin/catchment\n\
             a000-b000 rw-p 00009000 fe:00 7 /bin/catchment\nb000-c000 rw-p 00000000 00:00 0 \n\
             c000-d000 r-xp 00000000 fe:00 8 /lib/libc.so.6\n";
        assert_eq!(code_of(maps, "/bin/catchment"), [(0x2000, 0xa000)]);
        assert_eq!(code_of("", "/bin/catchment"), []);
    }

    #[test]
    fn g11_the_program_runs_on_after_its_code_was_given_back() {
        forget_the_start();
        assert_eq!(code_of("", ""), []);
    }
}
