//! `firmware-sim watch`.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use firmware_sim::civil::Span;
use firmware_sim::watch::{changes, screen};
use serde_json::Value;

/// The control port answers within so long, or is not there.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer at most.
const ANSWER_MAX: u64 = 64 << 20;
/// Terminal size where the environment tells none.
const COLUMNS: usize = 100;
/// See [`COLUMNS`].
const LINES: usize = 40;

/// Arguments of `watch`.
#[derive(Args)]
pub(crate) struct Watch {
    /// Control port of the simulator, as `run` printed it (`run --control 127.0.0.1:5021` fixes it).
    #[arg(long, default_value = "127.0.0.1:5021", value_name = "ADDR or PORT", value_parser = control)]
    port: SocketAddr,
    /// How often it is looked at, real time.
    #[arg(long, default_value = "1s")]
    every: Span,
    /// Stop after so many looks.
    #[arg(long)]
    looks: Option<u64>,
    /// Offset of shown times from UTC, minutes.
    #[arg(long, default_value_t = 480, allow_hyphen_values = true)]
    utc_offset_min: i32,
}

/// `http://127.0.0.1:5021`, `127.0.0.1:5021` or `5021`.
fn control(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if let Ok(port) = bare.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    bare.parse().map_err(|_| format!("`{text}` is no control port: write 5021 or 127.0.0.1:5021"))
}

pub(crate) fn watch(args: &Watch) -> anyhow::Result<()> {
    anyhow::ensure!(args.every.0 >= 100, "--every is 100 ms at least");
    let mut out = std::io::stdout().lock();
    let redraw = out.is_terminal();
    let mut before = Value::Null;
    let mut looks = 0;
    loop {
        let live = look(args.port)?;
        let text = if redraw {
            let size =
                |name: &str, or: usize| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
            // Home, the screen with each old line cut at its end, and nothing below.
            let text = screen(
                &live,
                args.utc_offset_min,
                size("COLUMNS", COLUMNS),
                size("LINES", LINES).saturating_sub(1),
            );
            format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
        } else {
            changes(&before, &live, args.utc_offset_min)
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever reads has seen enough: `watch | head`.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("cannot write to stdout")?,
        }
        before = live;
        looks += 1;
        if args.looks.is_some_and(|most| looks >= most) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(args.every.0 as u64));
    }
}

fn look(port: SocketAddr) -> anyhow::Result<Value> {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&port, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(stream, "GET /devices HTTP/1.1\r\nhost: {port}\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let hint = || {
        format!(
            "no simulator's control port answers at {port}: `firmware-sim run … --control {port}`, or --port as `run` printed it"
        )
    };
    let answer = asked().with_context(hint)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(hint)?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200"), hint());
    serde_json::from_str(body).with_context(hint)
}
