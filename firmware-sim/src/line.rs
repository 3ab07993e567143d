//! Serial lines: a pseudo-terminal whose other end a gateway opens like any port, or a real port.
//!
//! A pty has no speed of its own: [`Settings::pause`] says how long bytes would take, and [`crate::serve`] waits so long. It keeps the speed that
//! its other end was set to ([`Ear`]), and devices that have another do not answer.
//! Bytes that nobody takes are lost, as on a real line with nothing at the other end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{ControlModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Parity of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parity {
    /// No parity bit.
    #[default]
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// How a line is set; eight data bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bits per second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop: u8,
}

impl Settings {
    /// How long so many characters take: start bit, eight data bits, parity, stop bits.
    #[must_use]
    pub fn pause(self, characters: usize) -> Duration {
        let bits = 9 + u64::from(self.parity != Parity::None) + u64::from(self.stop);
        let micros = characters as u64 * bits * 1_000_000 / u64::from(self.baud.max(1));
        Duration::from_micros(micros)
    }

    fn write(self, termios: &mut Termios) -> io::Result<()> {
        termios.make_raw();
        let bits = ControlModes::PARENB | ControlModes::PARODD | ControlModes::CSTOPB;
        termios.control_modes.remove(bits);
        termios.control_modes.insert(ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL);
        match self.parity {
            Parity::None => {}
            Parity::Even => termios.control_modes.insert(ControlModes::PARENB),
            Parity::Odd => termios.control_modes.insert(ControlModes::PARENB | ControlModes::PARODD),
        }
        if self.stop > 1 {
            termios.control_modes.insert(ControlModes::CSTOPB);
        }
        Ok(termios.set_speed(self.baud)?)
    }
}

/// Our end of a line.
#[derive(Debug)]
pub struct Line {
    fd: AsyncFd<File>,
    /// The other end of a pty, held open: without it every read here fails until somebody opens it.
    other_end: Option<File>,
}

/// A new pty and the path by which its other end is opened.
pub fn pty(settings: Settings) -> io::Result<(Line, String)> {
    let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?.into_string().map_err(io::Error::other)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK | OFlags::RDWR)?;
    let other = open(Path::new(&path))?;
    set(&other, settings)?;
    Ok((Line { fd: watched(File::from(ours))?, other_end: Some(other) }, path))
}

/// Tells the speed of whoever has the other end of a pty open.
#[derive(Debug)]
pub struct Ear(File);

impl Ear {
    /// bit/s. A pty carries bytes at any speed, so this is how a device on it knows that it is not meant.
    pub fn baud(&self) -> io::Result<u32> {
        Ok(tcgetattr(&self.0)?.output_speed())
    }
}

impl Line {
    /// `None` on a real port: there bytes at another speed are noise by themselves.
    pub fn ear(&self) -> io::Result<Option<Ear>> {
        self.other_end.as_ref().map(|end| Ok(Ear(end.try_clone()?))).transpose()
    }
}

/// A real port.
pub fn port(path: &Path, settings: Settings) -> io::Result<Line> {
    let file = open(path)?;
    set(&file, settings)?;
    Ok(Line { fd: watched(file)?, other_end: None })
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe for descriptors that may change; a File owns its own"
)]
fn watched(file: File) -> io::Result<AsyncFd<File>> {
    AsyncFd::new(file)
}

fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    File::options().read(true).write(true).custom_flags(flags.cast_signed()).open(path)
}

fn set(file: &File, settings: Settings) -> io::Result<()> {
    let mut termios = tcgetattr(file)?;
    settings.write(&mut termios)?;
    Ok(tcsetattr(file, OptionalActions::Now, &termios)?)
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(context))?;
            if let Ok(read) = guard.try_io(|fd| fd.get_ref().read(buffer.initialize_unfilled())) {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(match self.fd.get_ref().write(bytes) {
            // Nobody has read for some 4,000 bytes: what goes out now is lost.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(bytes.len()),
            done => done,
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
