//! What only the start needed is given back: an idle service should be small beside what it serves.

use crate::ports::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

/// By then the bucket was probed, the first claims were made and the first connections opened.
const START_IS_OVER: Duration = Duration::from_secs(2);

/// When the start is over, returns free heap to the system, and unmaps the program's code and constants: the start runs
/// through most of them once, and what is used again comes back from the page cache, a few microseconds a piece.
pub(super) async fn after_the_start(clock: Arc<dyn Clock>) {
    clock.sleep(START_IS_OVER).await;
    forget_the_start();
}

fn forget_the_start() {
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
        for (start, end) in unwritten(&maps, &program.to_string_lossy()) {
            // SAFETY: mapped from a file and never written to: a page that is touched again is read from that file
            // again, with the same content.
            let gone = unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
            if gone != 0 {
                tracing::debug!("the program's pages stay: {}", std::io::Error::last_os_error());
            }
        }
    }
}

/// The address ranges of `/proc/self/maps` that hold the program's code and its plain constants, which lie at the
/// file's front. Other read-only ranges were written to by the loader: their addresses are of this process.
fn unwritten(maps: &str, program: &str) -> Vec<(usize, usize)> {
    let range = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (addresses, rights, offset) = (words.next()?, words.next()?, words.next()?);
        let path = words.nth(2)?;
        let (start, end) = addresses.split_once('-')?;
        let parse = |hex| usize::from_str_radix(hex, 16).ok();
        let plain = rights == "r-xp" || (rights == "r--p" && offset.bytes().all(|b| b == b'0'));
        (plain && path == program).then_some((parse(start)?, parse(end)?))
    };
    maps.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_program_never_writes_is_given_back() {
        let maps = "1000-2000 r--p 00000000 fe:00 7 /bin/catchment\n2000-a000 r-xp 00001000 fe:00 7 /bin/catchment\n\
             a000-b000 r--p 00009000 fe:00 7 /bin/catchment\nb000-c000 rw-p 0000a000 fe:00 7 /bin/catchment\n\
             c000-d000 rw-p 00000000 00:00 0 \nd000-e000 r-xp 00000000 fe:00 8 /lib/libc.so.6\n";
        assert_eq!(
            unwritten(maps, "/bin/catchment"),
            [(0x1000, 0x2000), (0x2000, 0xa000)]
        );
        assert_eq!(unwritten("", "/bin/catchment"), []);
    }

    #[test]
    fn the_program_runs_on_after_its_code_was_given_back() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        assert!(!unwritten(&maps, &program.to_string_lossy()).is_empty());
        forget_the_start();
        assert_eq!(unwritten("1-2 r-xp 0 a 7 /x", "/x"), [(1, 2)]);
    }
}
