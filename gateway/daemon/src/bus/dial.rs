//! How a bus gets a connection: over TCP, a serial port, or any stream that somebody else holds the other end of.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::termios::{
    ControlModes, OptionalActions, QueueSelector, Termios, ioctl_tiocexcl, ioctl_tiocnxcl, tcflush,
    tcgetattr, tcsetattr,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::config::{LineSettings, Parity};

/// A connection to devices.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + Debug> Stream for S {}

/// A way to get one.
pub trait Dial: Send + Sync {
    /// A fresh connection to `address`, as the site file names it.
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
}

/// Over TCP, without delay for small requests.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// A serial port, set as the site file says. One owner: a port that another process holds is refused.
///
/// RS-485 transceivers that need their direction switched are left to the kernel driver (`rs485` in the device tree) or to
/// the adapter, as every USB adapter does it by itself.
#[derive(Debug, Clone, Copy)]
pub struct Serial(pub LineSettings);

impl Dial for Serial {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let opened = open(address, self.0).map(|port| Box::new(port) as Box<dyn Stream>);
        Box::pin(std::future::ready(opened))
    }
}

fn open(path: &str, settings: LineSettings) -> io::Result<Port> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        Errno::WOULDBLOCK => {
            io::Error::new(io::ErrorKind::ResourceBusy, "another process holds this port: stop it")
        }
        other => other.into(),
    })?;
    // Against programs that do not ask for the lock. Privileged ones may still open it.
    ioctl_tiocexcl(&file)?;
    let mut termios = tcgetattr(&file)?;
    set(&mut termios, settings)?;
    tcsetattr(&file, OptionalActions::Now, &termios)?;
    tcflush(&file, QueueSelector::IOFlush)?;
    Ok(Port(watched(file)?))
}

fn set(termios: &mut Termios, settings: LineSettings) -> io::Result<()> {
    termios.make_raw();
    termios
        .control_modes
        .remove(ControlModes::PARENB | ControlModes::PARODD | ControlModes::CSTOPB | ControlModes::CRTSCTS);
    termios.control_modes.insert(ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL);
    match settings.parity {
        Parity::None => {}
        Parity::Even => termios.control_modes.insert(ControlModes::PARENB),
        Parity::Odd => termios.control_modes.insert(ControlModes::PARENB | ControlModes::PARODD),
    }
    if settings.stop_bits > 1 {
        termios.control_modes.insert(ControlModes::CSTOPB);
    }
    Ok(termios.set_speed(settings.baud)?)
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe for descriptors that may change; a File owns its own"
)]
fn watched(file: File) -> io::Result<AsyncFd<File>> {
    AsyncFd::new(file)
}

/// An open serial port.
#[derive(Debug)]
struct Port(AsyncFd<File>);

/// What was forbidden to others is allowed again, also where somebody else holds the port open.
impl Drop for Port {
    fn drop(&mut self) {
        if let Err(error) = ioctl_tiocnxcl(self.0.get_ref()) {
            tracing::debug!(%error, "a serial port stays closed to others until its last user lets go");
        }
    }
}

impl AsyncRead for Port {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(task))?;
            if let Ok(read) = guard.try_io(|fd| fd.get_ref().read(buffer.initialize_unfilled())) {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(task))?;
            if let Ok(written) = guard.try_io(|fd| fd.get_ref().write(bytes)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
