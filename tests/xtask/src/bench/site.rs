//! Site files for measurements: many devices of one own profile, watched by one own pack, written as a user would write them:
//! a site file, a table of devices, a profile and a pack.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// How the values of a site come in.
pub(super) enum Source<'a> {
    /// Modbus TCP: `host:port` of each bus, devices of each, and how often they are read.
    Modbus { addresses: &'a [String], units: u32, every_ms: u64 },
    /// MQTT, topics `in/dN`: an external broker, or the embedded one on this port.
    Mqtt { external: Option<&'a str> },
}

/// A site for a measurement.
pub(super) struct Plan<'a> {
    pub(super) devices: u32,
    /// Points of each device.
    pub(super) points: u16,
    /// Points of each device with a rule "above its limit for 5 s".
    pub(super) rules: u16,
    /// Above this the rule holds, in the point's unit.
    pub(super) limit: f64,
    pub(super) source: Source<'a>,
    /// The broker of an MQTT sink, and whether it gets a message a device instead of one a reading.
    pub(super) sink: Option<(&'a str, bool)>,
}

impl Plan<'_> {
    /// Writes the files; where the site file is.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let put = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        put("profile.toml", self.profile())?;
        put("pack.toml", self.pack())?;
        put("devices.csv", self.devices())?;
        put("site.toml", self.site())?;
        Ok(folder.join("site.toml"))
    }

    fn profile(&self) -> String {
        let mut text =
            "name = \"bench\"\nmark = \"P\"\ntitle = { zh = \"测试\", en = \"Bench\" }\n".to_owned();
        match self.source {
            Source::Modbus { .. } => {
                let points = self.points;
                let _infallible = write!(
                    text,
                    "transport = \"modbus\"\n[[field]]\nname = \"p{{n}}\"\nrepeat = {points}\nat = \"input 0x0000\"\n\
                     step = 1\ntype = \"u16\"\ngain = 0.1\nunit = \"°C\"\nspan = [0, 7000]\n"
                );
            }
            Source::Mqtt { .. } => {
                text.push_str("transport = \"mqtt\"\nform = \"json\"\nmax_age = \"1 h\"\ntime = { at = \"/t\", form = \"unix-ms\" }\n");
                for n in 1..=self.points {
                    let _infallible =
                        write!(text, "[[field]]\nname = \"p{n}\"\nunit = \"°C\"\nspan = [0, 7000]\n");
                }
            }
        }
        text
    }

    fn pack(&self) -> String {
        let mut text = "name = \"bench\"\nversion = \"1\"\ndevice = \"bench\"\ntitle = { zh = \"测试\", en = \"Bench\" }\n\n[points]\n"
            .to_owned();
        for n in 1..=self.points {
            let _infallible =
                writeln!(text, "p{n} = {{ unit = \"°C\", zh = \"温度{n}\", en = \"Temperature {n}\" }}");
        }
        let limit = self.limit;
        for n in 1..=self.rules.min(self.points) {
            let _infallible = write!(
                text,
                "\n[[rule]]\nname = \"above-{n}\"\nwhen = \"p{n} > limit\"\nfor = \"5s\"\nclear_for = \"1s\"\ndeadband = \"0.5 °C\"\n\
                 priority = \"yellow\"\nfirst = \"institution\"\nself_fix = \"5 d\"\nmark = \"P\"\n\
                 title = {{ zh = \"过高\", en = \"Above\" }}\n\
                 sentence = {{ zh = \"{{device}}为{{value}}{{unit}}。\", en = \"{{device}} is at {{value}} {{unit}}.\" }}\n\
                 action = {{ zh = \"请检查。\", en = \"Check it.\" }}\nnorm = {{ zh = \"测试\", en = \"A measurement\" }}\n\
                 verify = {{ window = \"30 min\", coverage = 0.9 }}\n[rule.parameters]\n\
                 limit = {{ default = \"{limit} °C\", min = \"0 °C\", max = \"7000 °C\", mark = \"P\", zh = \"上限\", en = \"Limit\" }}\n"
            );
        }
        text
    }

    fn devices(&self) -> String {
        let mut text = match self.source {
            Source::Modbus { .. } => "id,kind,name.zh,name.en,bus,unit,every,profile\n".to_owned(),
            Source::Mqtt { .. } => "id,kind,name.zh,name.en,topic,profile,map\n".to_owned(),
        };
        let map: Vec<String> = (1..=self.points).map(|n| format!("p{n}=/p{n}")).collect();
        for n in 0..self.devices {
            let place = match &self.source {
                Source::Modbus { units, every_ms, .. } => {
                    format!("b{},{},{every_ms} ms,bench", n / units, n % units + 1)
                }
                Source::Mqtt { .. } => format!("in/d{n},bench,{}", map.join("; ")),
            };
            let _infallible = writeln!(text, "d{n},bench,设备{n},Device {n},{place}");
        }
        text
    }

    fn site(&self) -> String {
        let mut text = "[site]\nid = \"bench\"\ninstitution = \"913300000000000191\"\nname = { zh = \"测试\", en = \"Bench\" }\n\
                        utc_offset_min = 480\n\n[page]\nlisten = \"127.0.0.1:0\"\n\n[packs]\nfiles = [\"pack.toml\"]\n\n\
                        [profiles]\nfiles = [\"profile.toml\"]\n\n[devices]\nfiles = [\"devices.csv\"]\n\n[broker]\n"
            .to_owned();
        match &self.source {
            Source::Mqtt { external: Some(broker) } => {
                let _infallible = writeln!(text, "url = \"mqtt://{broker}\"");
            }
            Source::Mqtt { external: None } | Source::Modbus { .. } => {
                text.push_str("listen = \"127.0.0.1:0\"\n");
            }
        }
        if let Source::Mqtt { .. } = self.source {
            text.push_str("\n[journal]\nseal_every = \"5s\"\n");
        }
        if let Source::Modbus { addresses, .. } = &self.source {
            for (n, address) in addresses.iter().enumerate() {
                let _infallible = write!(
                    text,
                    "\n[[bus]]\nname = \"b{n}\"\ntransport = \"tcp\"\naddress = \"{address}\"\ntimeout = \"1s\"\n"
                );
            }
        }
        if let Some((broker, by_device)) = self.sink {
            let _infallible = write!(
                text,
                "\n[[sink]]\nname = \"local\"\nkind = \"mqtt\"\nurl = \"mqtt://{broker}\"\nby_device = {by_device}\n"
            );
        }
        text
    }
}
