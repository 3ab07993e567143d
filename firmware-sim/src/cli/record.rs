//! `firmware-sim record`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use firmware_sim::clock::Clock;
use firmware_sim::face::frame::Transport;
use firmware_sim::record::{self, Recorder, relay, subscribe};
use firmware_sim::recording::file::Writer;
use firmware_sim::recording::{Bus, Head, VERSION};
use tokio::net::{TcpListener, lookup_host};

use super::{host_port, port_of, print_up, stopped};

/// Arguments of `record`.
#[derive(Args)]
pub(crate) struct Record {
    /// File to write, JSON lines; a name that ends in .zst is compressed. It must not exist yet.
    out: PathBuf,
    /// A Modbus TCP server to stand before; may be repeated.
    #[arg(long, value_name = "NAME=HOST:PORT")]
    tcp: Vec<String>,
    /// An RTU-over-TCP server to stand before; may be repeated.
    #[arg(long, value_name = "NAME=HOST:PORT")]
    rtu: Vec<String>,
    /// A broker to listen to.
    #[arg(long, value_name = "HOST:PORT")]
    mqtt: Option<String>,
    /// Topic filter to subscribe to; may be repeated.
    #[arg(long, default_value = "#", requires = "mqtt")]
    topic: Vec<String>,
    /// Address to listen on for the gateway, each bus on a port of its own.
    #[arg(long, default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Port of a bus, e.g. --port steam=5020; may be repeated.
    #[arg(long, value_name = "NAME=PORT")]
    port: Vec<String>,
    /// Stop recording (not relaying) at this size, MiB of text.
    #[arg(long, default_value_t = 1024)]
    max_mib: u64,
    /// Print where it listens as JSON.
    #[arg(long)]
    json: bool,
}

struct Relay {
    bus: Bus,
    device: String,
}

impl Record {
    fn relays(&self) -> anyhow::Result<Vec<Relay>> {
        let tcp = self.tcp.iter().map(|text| ("--tcp", text, Transport::Tcp));
        let rtu = self.rtu.iter().map(|text| ("--rtu", text, Transport::RtuOverTcp));
        let mut relays: Vec<Relay> = Vec::new();
        for (option, text, transport) in tcp.chain(rtu) {
            let (name, device) =
                text.split_once('=').with_context(|| format!("{option} is NAME=HOST:PORT, not `{text}`"))?;
            host_port(option, device)?;
            anyhow::ensure!(
                !relays.iter().any(|other| other.bus.name == name),
                "two buses are called `{name}`"
            );
            relays.push(Relay { bus: Bus { name: name.to_owned(), transport }, device: device.to_owned() });
        }
        Ok(relays)
    }
}

pub(crate) fn record(args: &Record) -> anyhow::Result<()> {
    let relays = args.relays()?;
    anyhow::ensure!(
        !relays.is_empty() || args.mqtt.is_some(),
        "nothing to record: name --tcp, --rtu or --mqtt"
    );
    anyhow::ensure!(args.topic.len() <= subscribe::TOPICS_MAX, "--topic: {} at most", subscribe::TOPICS_MAX);
    let broker = args.mqtt.as_deref().map(|text| host_port("--mqtt", text)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let clock = Clock::system(1.0);
        let head = Head {
            recording: VERSION,
            from: clock.now().0,
            by: concat!("firmware-sim ", env!("CARGO_PKG_VERSION")).to_owned(),
            buses: relays.iter().map(|relay| relay.bus.clone()).collect(),
        };
        let writer = Writer::create(&args.out, &head)
            .with_context(|| format!("cannot write {} (it must not exist yet)", args.out.display()))?;
        let (recorder, lines) = Recorder::new(clock);
        let mut tasks = tokio::task::JoinSet::new();
        let mut up: Vec<(&str, SocketAddr)> = Vec::new();
        for Relay { bus, device } in &relays {
            let device = lookup_host(device)
                .await
                .with_context(|| format!("bus `{}`: cannot find {device}", bus.name))?
                .next()
                .with_context(|| format!("bus `{}`: {device} has no address", bus.name))?;
            let wanted = SocketAddr::new(args.listen, port_of(&bus.name, &args.port)?);
            let listener = TcpListener::bind(wanted)
                .await
                .with_context(|| format!("bus `{}` cannot listen on {wanted}", bus.name))?;
            up.push((&bus.name, listener.local_addr()?));
            tasks.spawn(relay::listen(listener, device, bus.clone(), recorder.clone()));
        }
        if let Some((host, port)) = broker {
            let id = format!("firmware-sim-record-{}", std::process::id());
            tasks.spawn(subscribe::listen(host, port, id, args.topic.clone(), recorder.clone()));
        }
        drop(recorder);
        print_up(args.json, &up)?;
        let mut writing = tokio::spawn(record::write(lines, writer, args.max_mib.saturating_mul(1 << 20)));
        tokio::select! {
            () = stopped() => {}
            ended = &mut writing => {
                ended.context("the writer panicked")?.context("cannot write the recording")?;
                anyhow::bail!("the writer ended by itself");
            }
        }
        // With the listeners their connections end; what is open is written, and then the writer ends.
        tasks.shutdown().await;
        let written = writing.await.context("the writer panicked")?.context("cannot write the recording")?;
        tracing::info!(
            exchanges = written.exchanges,
            messages = written.messages,
            beyond = written.beyond,
            bytes = written.bytes,
            "recording written"
        );
        Ok(())
    })
}
