//! The three example sites, as they lie in `deploy/example`, and what differs from them in a demo: addresses only.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use toml::Table;

/// One of the three sites.
pub(crate) struct Site {
    /// File name of scenario and example, and name of the folder: `hotel`.
    pub(crate) name: &'static str,
    /// What it is, for the center: `hotel`, `clinic`, `hospital`.
    pub(crate) kind: &'static str,
    /// The site file.
    pub(crate) file: PathBuf,
    example: Table,
}

/// All three, in the order they are shown.
const NAMES: [&str; 3] = ["hotel", "clinic", "hospital"];

impl Site {
    /// Reads the example site files.
    pub(crate) fn all(root: &Path) -> Result<Vec<Self>> {
        NAMES
            .iter()
            .map(|name| {
                let path = root.join("deploy/example").join(format!("{name}.toml"));
                let text =
                    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
                let example = text.parse().with_context(|| format!("read {}", path.display()))?;
                Ok(Self { name, kind: name, file: path, example })
            })
            .collect()
    }

    /// Id of the institution.
    pub(crate) fn institution(&self) -> Result<&str> {
        self.text("institution")
    }

    /// Id of the site.
    pub(crate) fn id(&self) -> Result<&str> {
        self.text("id")
    }

    /// Its name in a language, `zh` or `en`.
    pub(crate) fn title(&self, language: &str) -> &str {
        self.example
            .get("site")
            .and_then(|site| site.get("name")?.get(language)?.as_str())
            .unwrap_or(self.name)
    }

    fn text(&self, key: &str) -> Result<&str> {
        self.example
            .get("site")
            .and_then(|site| site.get(key)?.as_str())
            .with_context(|| format!("deploy/example/{}.toml has no [site] {key}", self.name))
    }

    /// What differs from the example in this run: buses at the simulator's endpoints, this center, a broker on
    /// `mqtt_port`, a page anywhere.
    pub(crate) fn overrides(&self, endpoints: &Value, center: &str, mqtt_port: u16) -> Result<Vec<String>> {
        let mut args =
            vec!["--center".to_owned(), center.to_owned(), "--page-listen".into(), "127.0.0.1:0".into()];
        args.extend(["--mqtt-listen".to_owned(), format!("127.0.0.1:{mqtt_port}")]);
        for bus in self.example.get("bus").and_then(toml::Value::as_array).into_iter().flatten() {
            let name = bus.get("name").and_then(toml::Value::as_str).context("a bus has a name")?;
            let Some(address) = endpoints.get(name).and_then(Value::as_str) else {
                bail!("the simulator of {} has no endpoint `{name}`: {endpoints}", self.name);
            };
            args.extend(["--bus".to_owned(), format!("{name}={address}")]);
        }
        Ok(args)
    }
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}
