//! `firmware-sim replay`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use firmware_sim::civil::Civil;
use firmware_sim::clock::{Clock, SPEED_MAX};
use firmware_sim::face::frame::Transport;
use firmware_sim::line::{self, Parity};
use firmware_sim::mqtt;
use firmware_sim::replay::serve::{Desk, publish};
use firmware_sim::replay::{AtEnd, Matching, Options, Player, Stranger, Tape};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{host_port, port_of, print_up, stopped};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Match {
    /// The last exchange at or before the moment asked.
    Time,
    /// The next one, whenever asked.
    Order,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Unknown {
    /// Exception 2; silence where not even the unit was recorded.
    Exception,
    /// No answer.
    Silence,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum End {
    /// Stop the program.
    Stop,
    /// Go on as things stood last.
    Hold,
    /// Begin anew (messages are not published again).
    Loop,
}

/// Arguments of `replay`.
#[derive(Args)]
pub(crate) struct Replay {
    /// A recording; a name that ends in .zst is expanded.
    file: PathBuf,
    /// Times real time. Pauses before answers stay as they were.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Begin at this moment of the recording (civil ms) instead of its first.
    #[arg(long, value_name = "CIVIL_MS")]
    at: Option<i64>,
    /// Which of several exchanges of a request is played.
    #[arg(long = "match", value_enum, default_value = "time")]
    matching: Match,
    /// What becomes of a request that was never recorded.
    #[arg(long, value_enum, default_value = "exception")]
    unknown: Unknown,
    /// What happens at the end.
    #[arg(long, value_enum, default_value = "stop")]
    end: End,
    /// Broker to publish the messages to.
    #[arg(long, value_name = "HOST:PORT")]
    mqtt: Option<String>,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Port of a bus, e.g. --port steam=5020; may be repeated.
    #[arg(long, value_name = "NAME=PORT")]
    port: Vec<String>,
    /// A bus that is replayed on a serial line (a new pty, 8N1) instead of a port, e.g. --pty meters or --pty meters=19200; 9600
    /// bit/s where none are said. May be repeated.
    #[arg(long, value_name = "NAME[=BAUD]")]
    pty: Vec<String>,
    /// Print where it listens as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn replay(args: &Replay) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.speed > 0.0 && args.speed <= SPEED_MAX,
        "--speed is above 0 and at most {SPEED_MAX}"
    );
    let broker = args.mqtt.as_deref().map(|text| host_port("--mqtt", text)).transpose()?;
    let tape = Tape::open(&args.file).with_context(|| format!("cannot replay {}", args.file.display()))?;
    tracing::info!(
        exchanges = tape.exchanges(),
        messages = tape.messages().len(),
        no_requests = tape.unanswerable(),
        said_unasked = tape.said(),
        gaps = tape.gaps(),
        "recording read"
    );
    if tape.is_torn() {
        tracing::warn!("the recording ends in the middle of a line: its writer was killed");
    }
    let options = Options {
        matching: match args.matching {
            Match::Time => Matching::Time,
            Match::Order => Matching::Order,
        },
        stranger: match args.unknown {
            Unknown::Exception => Stranger::Refused,
            Unknown::Silence => Stranger::Silent,
        },
        at_end: match args.end {
            End::Stop | End::Hold => AtEnd::Hold,
            End::Loop => AtEnd::Loop,
        },
    };
    let player = Arc::new(Player::new(tape, options));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(args, &player, broker))?;
    let counts = player.counts();
    eprintln!("replayed {} request(s); {} never recorded", counts.played, counts.strangers);
    for (request, times) in &counts.by_request {
        eprintln!("  never recorded: {request} ({times} times)");
    }
    Ok(())
}

async fn serve(args: &Replay, player: &Arc<Player>, broker: Option<(String, u16)>) -> anyhow::Result<()> {
    let lines = lines(player, &args.pty)?;
    let clock = Clock::starting(args.at.map_or(player.tape().from(), Civil), args.speed);
    let (mut up, mut tasks) = (Vec::new(), tokio::task::JoinSet::new());
    for (ix, (bus, settings)) in player.tape().buses().iter().zip(lines).enumerate() {
        let desk = Desk::new(Arc::clone(player), ix, clock.clone());
        if let Some(settings) = settings {
            let (line, path) =
                line::pty(settings).with_context(|| format!("bus `{}` gets no pty", bus.name))?;
            up.push((bus.name.as_str(), path));
            tasks.spawn(desk.line(line, settings));
            continue;
        }
        let wanted = SocketAddr::new(args.listen, port_of(&bus.name, &args.port)?);
        let listener = TcpListener::bind(wanted)
            .await
            .with_context(|| format!("bus `{}` cannot listen on {wanted}", bus.name))?;
        up.push((bus.name.as_str(), listener.local_addr()?.to_string()));
        tasks.spawn(desk.listen(listener));
    }
    let published = broker.map(|(host, port)| {
        let (sender, receiver) = mpsc::channel(mqtt::QUEUE_MAX);
        let id = format!("firmware-sim-replay-{}", std::process::id());
        tasks.spawn(publish(Arc::clone(player), clock.clone(), sender));
        // It ends when the last message is with the broker.
        tokio::spawn(mqtt::publish(host, port, id, receiver))
    });
    print_up(args.json, &up)?;
    let over = async {
        if args.end != End::Stop {
            std::future::pending::<()>().await;
        }
        clock.until(Civil(player.tape().to().0 + 1)).await;
        if let Some(published) = published {
            published.await.context("the publisher panicked")?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        () = stopped() => Ok(()),
        over = over => over,
    }
}

/// How the line of each bus is set, in the order of the recording; `None` where it listens on a port.
fn lines(player: &Player, named: &[String]) -> anyhow::Result<Vec<Option<line::Settings>>> {
    let buses = player.tape().buses();
    let mut lines = vec![None; buses.len()];
    for text in named {
        let (name, baud) = text.split_once('=').unwrap_or((text, "9600"));
        let ix = buses.iter().position(|bus| bus.name == name);
        let ix = ix.with_context(|| format!("--pty: no bus of the recording is called `{name}`"))?;
        let tcp = buses[ix].transport == Transport::Tcp;
        anyhow::ensure!(!tcp, "--pty: bus `{name}` talked Modbus TCP, which no serial line carries");
        let baud = baud.parse().ok().filter(|baud| (300..=4_000_000).contains(baud));
        let baud =
            baud.with_context(|| format!("--pty is NAME or NAME=BAUD, 300 to 4000000, not `{text}`"))?;
        lines[ix] = Some(line::Settings { baud, parity: Parity::None, stop: 1 });
    }
    Ok(lines)
}
