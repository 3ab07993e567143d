//! A line between two serial ports: two pseudo-terminals, each of which hears what the other says.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Holds both ports open; threads that carry bytes end with the process.
#[derive(Debug)]
pub struct Line {
    _ends: [File; 2],
}

/// The line, and the paths of its two ports.
pub fn pair() -> (Line, String, String) {
    let (left, left_path) = end();
    let (right, right_path) = end();
    // Held open here, so that a port that nobody uses yet is no end of the line.
    let line = Line { _ends: [open(&left_path), open(&right_path)] };
    carry(&left, &right);
    carry(&right, &left);
    (line, left_path, right_path)
}

fn open(path: &str) -> File {
    let flags = OFlags::NOCTTY.bits().cast_signed();
    let opened = File::options().read(true).write(true).custom_flags(flags).open(path);
    opened.expect("a pty can be opened")
}

fn end() -> (File, String) {
    let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are ptys");
    grantpt(&ours).expect("a pty can be granted");
    unlockpt(&ours).expect("a pty can be unlocked");
    let path = ptsname(&ours, Vec::new()).expect("a pty has a name").into_string().expect("in ASCII");
    let raw = open(&path);
    let mut settings = tcgetattr(&raw).expect("a pty has settings");
    settings.make_raw();
    tcsetattr(&raw, OptionalActions::Now, &settings).expect("and takes others");
    (File::from(ours), path)
}

fn carry(from: &File, to: &File) {
    let mut from = from.try_clone().expect("a descriptor can be copied");
    let mut to = to.try_clone().expect("a descriptor can be copied");
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        // Ends when the line is no longer held open.
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..length]).is_err() {
                return;
            }
        }
    });
}
